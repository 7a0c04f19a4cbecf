package login

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxAppClaims bounds what of a user's app metadata goes into an access token, in bytes of JSON: a token travels in a
// header with each call, and verifiers bound it (ours at 8 KiB).
const MaxAppClaims = 2 << 10

// AppClaims are the names of the app metadata that go into access tokens, as members of the claim app_metadata. None
// does unless it is named: a token is read by everybody who gets it.
type AppClaims []string

// Validate reports an error for each name that is empty or appears more than once.
func (c AppClaims) Validate() error {
	var problems []error
	seen := map[string]bool{}
	for _, name := range c {
		if name == "" || seen[name] {
			problems = append(problems, fmt.Errorf("app metadata claim %q is empty or given twice", name))
		}
		seen[name] = true
	}
	return errors.Join(problems...)
}

// Select returns the part of a user's app metadata that goes into tokens, or nil if there is none. It reports an error
// if that part is too large.
func (c AppClaims) Select(appMetadata string) (map[string]json.RawMessage, error) {
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
	if size > MaxAppClaims {
		return nil, fmt.Errorf("the app metadata for access tokens has %d bytes, more than %d", size, MaxAppClaims)
	}
	return claims, nil
}
