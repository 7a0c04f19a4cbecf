package store

import (
	"encoding/json"
	"errors"
	"fmt"
)

// maxAppClaims bounds what of a user's app metadata goes into an access token, in bytes of JSON: a token travels in a
// header with each call, and verifiers bound it (ours at 8 KiB).
const maxAppClaims = 2 << 10

// appClaims are the names of the app metadata that go into access tokens, as members of the claim app_metadata. None
// does unless it is named: a token is read by everybody who gets it.
type appClaims []string

// validate refuses names that could not be meant.
func (c appClaims) validate() error {
	var faults []error
	seen := map[string]bool{}
	for _, name := range c {
		if name == "" || seen[name] {
			faults = append(faults, fmt.Errorf("app metadata claim %q is empty or given twice", name))
		}
		seen[name] = true
	}
	return errors.Join(faults...)
}

// of gives what goes into the tokens of a user with this app metadata: nil for nothing.
func (c appClaims) of(appMetadata string) (map[string]json.RawMessage, error) {
	var all, claims map[string]json.RawMessage
	if len(c) == 0 || appMetadata == "" {
		return claims, nil
	}
	if err := json.Unmarshal([]byte(appMetadata), &all); err != nil {
		return nil, err
	}
	size := 0
	for _, name := range c {
		value, ok := all[name]
		if !ok {
			continue
		}
		if claims == nil {
			claims = map[string]json.RawMessage{}
		}
		claims[name] = value
		size += len(name) + len(value) + len(`"":,`)
	}
	if size > maxAppClaims {
		return nil, fmt.Errorf("the app metadata for access tokens has %d bytes, more than %d", size, maxAppClaims)
	}
	return claims, nil
}

// fault refuses app metadata that has too much for tokens.
func (c appClaims) fault(appMetadata string) *fieldFault {
	if _, err := c.of(appMetadata); err != nil {
		return &fieldFault{"APP_METADATA_CLAIMS_TOO_LARGE", "what goes into access tokens must be at most 2 KiB as JSON"}
	}
	return nil
}
