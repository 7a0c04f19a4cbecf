package authn

import (
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// MaxTokenLifetime is the longest time from `iat` to `exp` that a store can be configured with.
	MaxTokenLifetime = 24 * time.Hour

	// clockLeeway is how far the clock of the store that issued a token may be ahead of this one: twice what
	// docs/guarantees.md says is survived.
	clockLeeway = 10 * time.Minute
)

// ClientID is the claim `client_id`, which RFC 9068, section 2.2, requires. Gatehouse has no registered OAuth clients:
// all tokens are issued to the product itself, which this stands for.
const ClientID = "gatehouse"

// tokenHeader is the header of an access token. A header with any other member is rejected. RFC 7515, section 4.1.11,
// requires it for `crit`, which names extensions that must be understood. Others, such as `b64`, `zip`, `jku`, `jwk`,
// `x5u` and `x5c`, change what is signed or which key is trusted.
type tokenHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// parseHeader reads the header of a token in compact serialization. Names are compared exactly, and none may appear
// twice.
func parseHeader(token string) (tokenHeader, error) {
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return tokenHeader{}, fmt.Errorf("decode the header: %w", err)
	}
	var header tokenHeader
	if err := json.Unmarshal(raw, &header, json.RejectUnknownMembers(true)); err != nil {
		return tokenHeader{}, fmt.Errorf("read the header: %w", err)
	}
	return header, nil
}

// Claims are the claims of an access token.
type Claims struct {
	jwt.RegisteredClaims

	ClientID  string           `json:"client_id,omitempty"` // always ClientID; older tokens have none
	SessionID string           `json:"sid"`
	Roles     []string         `json:"roles"`
	AuthTime  *jwt.NumericDate `json:"auth_time,omitempty"` // when the user logged in (RFC 9068, section 2.2.1)

	// AppMetadata is the part of the user's app metadata that the store is configured to include.
	AppMetadata map[string]stdjson.RawMessage `json:"app_metadata,omitempty"`
}

// wireClaims are Claims as they are written. Members that are not named here are ignored (RFC 7519, section 4).
type wireClaims struct {
	Issuer      string                    `json:"iss"`
	Subject     string                    `json:"sub"`
	Audience    wireAudience              `json:"aud"`
	ExpiresAt   *wireTime                 `json:"exp"`
	NotBefore   *wireTime                 `json:"nbf"`
	IssuedAt    *wireTime                 `json:"iat"`
	ID          string                    `json:"jti"`
	ClientID    string                    `json:"client_id"`
	SessionID   string                    `json:"sid"`
	Roles       []string                  `json:"roles"`
	AuthTime    *wireTime                 `json:"auth_time"`
	AppMetadata map[string]jsontext.Value `json:"app_metadata"`
}

// UnmarshalJSON reads claims. Unlike encoding/json it compares names exactly and rejects a name that appears twice: two
// readers of one token must not see different claims (RFC 8725, section 2.4; RFC 7519, section 4, allows that).
func (c *Claims) UnmarshalJSON(data []byte) error {
	var wire wireClaims
	if err := json.Unmarshal(data, &wire); err != nil {
		return fmt.Errorf("read the claims: %w", err)
	}
	*c = Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: wire.Issuer, Subject: wire.Subject, Audience: jwt.ClaimStrings(wire.Audience), ID: wire.ID,
			ExpiresAt: wire.ExpiresAt.date(), NotBefore: wire.NotBefore.date(), IssuedAt: wire.IssuedAt.date(),
		},
		ClientID: wire.ClientID, SessionID: wire.SessionID, Roles: wire.Roles, AuthTime: wire.AuthTime.date(),
	}
	if wire.AppMetadata != nil {
		c.AppMetadata = make(map[string]stdjson.RawMessage, len(wire.AppMetadata))
		for name, value := range wire.AppMetadata {
			c.AppMetadata[name] = stdjson.RawMessage(value)
		}
	}
	return nil
}

// check reports an error if claims whose issuer, audience, `exp` and `nbf` have been checked are invalid. `iat` is
// required (RFC 9068, section 2.2) and must not be in the future. The lifetime must be one that a store can be
// configured with. `auth_time` must not be later than `iat`.
func (c *Claims) check(now time.Time) error {
	switch {
	case c.Subject == "" || c.SessionID == "":
		return errors.New("sub or sid is missing")
	case c.IssuedAt == nil || c.ExpiresAt == nil:
		return errors.New("iat or exp is missing")
	case c.IssuedAt.After(now.Add(clockLeeway)):
		return errors.New("iat is in the future")
	case c.ExpiresAt.Sub(c.IssuedAt.Time) > MaxTokenLifetime+time.Second: // Both are cut to seconds.
		return errors.New("the time from iat to exp is longer than any token's")
	case c.AuthTime != nil && c.AuthTime.After(c.IssuedAt.Add(clockLeeway)):
		return errors.New("auth_time is after iat")
	default:
		return nil
	}
}

// wireAudience is `aud`: one name, or a list of them (RFC 7519, section 4.1.3).
type wireAudience []string

// UnmarshalJSONFrom reads either form.
func (a *wireAudience) UnmarshalJSONFrom(decoder *jsontext.Decoder) error {
	if decoder.PeekKind() != '"' {
		return json.UnmarshalDecode(decoder, (*[]string)(a))
	}
	*a = make(wireAudience, 1)
	return json.UnmarshalDecode(decoder, &(*a)[0])
}

// wireTime is a NumericDate: seconds since 1970, as a number (RFC 7519, section 2).
type wireTime struct{ time.Time }

// UnmarshalJSONFrom reads a number of a time from 1970 to 9999.
func (t *wireTime) UnmarshalJSONFrom(decoder *jsontext.Decoder) error {
	const end = 253402300800 // 10000-01-01T00:00:00Z
	var seconds float64
	if err := json.UnmarshalDecode(decoder, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds >= end {
		return errors.New("the number is not a date")
	}
	whole, fraction := math.Modf(seconds)
	t.Time = time.Unix(int64(whole), int64(fraction*float64(time.Second)))
	return nil
}

func (t *wireTime) date() *jwt.NumericDate {
	if t == nil {
		return nil
	}
	return jwt.NewNumericDate(t.Time)
}
