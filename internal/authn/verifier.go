package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
)

const (
	// TokenType is the `typ` of an access token's header (RFC 9068, section 2.1). Checking it keeps any other JWT that
	// these keys may ever sign from passing for an access token (RFC 8725, section 3.11).
	TokenType = "at+jwt"

	// maxTokenLength bounds what is parsed, in bytes. Our own tokens have about 600.
	maxTokenLength = 8 << 10

	// maxRemembered bounds the memory of verified tokens: about 200 bytes each.
	maxRemembered = 10_000
)

// Verifier checks access tokens: the form of header and claims, signature, key, algorithm, type, issuer, audience and
// times. It remembers a bounded number of tokens that it has verified, because a signature costs about a hundred times
// a look-up.
type Verifier struct {
	keys     *KeySet
	parser   *jwt.Parser
	now      func() time.Time
	audience string
	verified *otter.Cache[[sha256.Size]byte, verifiedToken]
}

type verifiedToken struct {
	caller  Caller
	expires time.Time
	keyID   string // of the key that signed it
}

// NewVerifier returns a verifier of tokens that issuer issued for audience.
func NewVerifier(keys *KeySet, issuer, audience string, now func() time.Time) *Verifier {
	return &Verifier{
		keys:     keys,
		now:      now,
		audience: audience,
		parser: jwt.NewParser(
			jwt.WithValidMethods(jwk.Algorithms()),
			jwt.WithIssuer(issuer),
			jwt.WithAudience(audience),
			jwt.WithExpirationRequired(),
			jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(now),
		),
		verified: otter.Must(&otter.Options[[sha256.Size]byte, verifiedToken]{MaximumSize: maxRemembered}),
	}
}

// Verify returns the caller that the token was issued to. Its errors are *apierr.Error: ACCESS_TOKEN_EXPIRED,
// ACCESS_TOKEN_INVALID, or UNAVAILABLE if the keys cannot be fetched, so that nothing is known of the token.
func (v *Verifier) Verify(ctx context.Context, token string) (Caller, error) {
	if len(token) > maxTokenLength {
		return Caller{}, apierr.AccessTokenInvalid(fmt.Errorf("the token has %d bytes", len(token)))
	}
	if strings.ContainsAny(token, "\r\n") { // encoding/base64 skips these: one token would have many spellings.
		return Caller{}, apierr.AccessTokenInvalid(errors.New("the token contains line breaks"))
	}
	// Remembered by digest, so that a memory dump of this cache holds no token that could be used.
	digest := sha256.Sum256([]byte(token))
	if known, ok := v.verified.GetIfPresent(digest); ok {
		return v.recall(ctx, known)
	}
	claims, keyID, err := v.parse(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	caller := v.caller(claims)
	v.verified.Set(digest, verifiedToken{caller: caller, expires: claims.ExpiresAt.Time, keyID: keyID})
	return caller, nil
}

// recall checks a token whose signature was verified before: its key must still be in the set. As a key's id is its
// thumbprint (RFC 7638), it is the same key.
func (v *Verifier) recall(ctx context.Context, known verifiedToken) (Caller, error) {
	if !v.now().Before(known.expires) {
		return Caller{}, apierr.AccessTokenExpired()
	}
	_, err := v.keys.find(ctx, known.keyID)
	switch {
	case errors.Is(err, errUnknownKey):
		return Caller{}, apierr.AccessTokenInvalid(err)
	case err != nil:
		return Caller{}, apierr.Unavailable(err)
	}
	return known.caller, nil
}

func (v *Verifier) caller(claims *Claims) Caller {
	caller := Caller{
		UserID: claims.Subject, SessionID: claims.SessionID, Roles: claims.Roles, TokenID: claims.ID,
		Issuer: claims.Issuer, Audience: v.audience, ExpireTime: claims.ExpiresAt.Time,
	}
	if claims.IssuedAt != nil {
		caller.IssueTime = claims.IssuedAt.Time
	}
	if claims.AuthTime != nil {
		caller.AuthTime = claims.AuthTime.Time
	}
	return caller
}

func (v *Verifier) parse(ctx context.Context, token string) (claims *Claims, keyID string, err error) {
	claims = &Claims{}
	var unreachable error
	_, err = v.parser.ParseWithClaims(token, claims, func(token *jwt.Token) (any, error) {
		key, err := v.keyFor(ctx, token)
		if err != nil && !errors.Is(err, errHeader) {
			unreachable = err
		}
		keyID = key.id
		return key.public, err
	})
	switch {
	case unreachable != nil:
		return nil, "", apierr.Unavailable(unreachable)
	case err != nil && !onlyExpired(err):
		return nil, "", apierr.AccessTokenInvalid(err)
	}
	if problem := claims.check(v.now()); problem != nil {
		return nil, "", apierr.AccessTokenInvalid(problem)
	}
	if err != nil {
		return nil, "", apierr.AccessTokenExpired()
	}
	return claims, keyID, nil
}

// onlyExpired reports whether the token has expired and nothing else is wrong. An expired token for another audience is
// invalid.
func onlyExpired(err error) bool {
	if !errors.Is(err, jwt.ErrTokenExpired) {
		return false
	}
	for _, other := range []error{
		jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenNotValidYet, jwt.ErrTokenRequiredClaimMissing,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// errHeader is returned for a token whose header fits no key.
var errHeader = errors.New("invalid token header")

// keyFor returns the key that the token names, and requires the key's own algorithm. It does not trust the algorithm of
// the token: that is how `none` and "HMAC with the public key" pass (RFC 8725, section 3.1).
func (v *Verifier) keyFor(ctx context.Context, token *jwt.Token) (publicKey, error) {
	header, err := parseHeader(token.Raw)
	if err != nil {
		return publicKey{}, fmt.Errorf("%w: %w", errHeader, err)
	}
	if header.Type != TokenType {
		return publicKey{}, fmt.Errorf("%w: typ is not %s", errHeader, TokenType)
	}
	key, err := v.keys.find(ctx, header.KeyID)
	if errors.Is(err, errUnknownKey) {
		return publicKey{}, fmt.Errorf("%w: %w", errHeader, err)
	}
	if err != nil {
		return publicKey{}, err
	}
	if header.Algorithm != key.algorithm || token.Method.Alg() != key.algorithm {
		return publicKey{}, fmt.Errorf("%w: alg is not that of the key", errHeader)
	}
	return key, nil
}

// ValidateNames checks the issuer and the audience that a service is configured with.
func ValidateNames(issuer, audience string) error {
	problems := []error{validateIssuer(issuer)}
	if audience == "" {
		problems = append(problems, errors.New("the audience is empty"))
	}
	return errors.Join(problems...)
}

// validateIssuer checks what OpenID Connect Discovery 1.0, section 3, requires: verifiers append a path to the issuer,
// to find the configuration, and compare the issuer byte for byte with what they find there. They require https outside
// of tests; http is accepted here, for a first try on one machine.
func validateIssuer(issuer string) error {
	if issuer == "" {
		return errors.New("the issuer is empty")
	}
	parsed, err := url.Parse(issuer)
	switch {
	case err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Hostname() == "":
		return fmt.Errorf("the issuer is %q, not the http or https URL under which clients reach the gateway", issuer)
	case parsed.User != nil || strings.ContainsAny(issuer, "?#"):
		return errors.New("the issuer must be a URL without user, query and fragment")
	case strings.HasSuffix(issuer, "/"):
		return fmt.Errorf("the issuer is %q: leave the slash at its end out", issuer)
	}
	return nil
}
