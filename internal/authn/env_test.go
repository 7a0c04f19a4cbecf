package authn_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	issuer   = "https://id.example.com"
	audience = "gatehouse"
	userID   = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"
	session  = "01970e2c-7a10-7b5e-8c43-0d6f1a9e2b54"
)

// clock is a clock that stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// keyPair is a signing key and its public half.
type keyPair struct {
	private crypto.Signer
	public  *gatehousev1.Key
	method  jwt.SigningMethod
}

func newKeyPair(t testing.TB, algorithm string) keyPair {
	t.Helper()
	pair := keyPair{}
	var err error
	switch algorithm {
	case jwk.EdDSA:
		pair.method = jwt.SigningMethodEdDSA
		_, pair.private, err = ed25519.GenerateKey(rand.Reader)
	case jwk.ES256:
		pair.method = jwt.SigningMethodES256
		pair.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwk.RS256:
		pair.method = jwt.SigningMethodRS256
		pair.private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	if pair.public, err = jwk.FromPublic(pair.private.Public()); err != nil {
		t.Fatal(err)
	}
	return pair
}

// publisher serves the keys as a test sets it, and counts the fetches.
type publisher struct {
	mu      sync.Mutex
	keys    []*gatehousev1.Key
	err     error
	hang    func() // what happens while it is asked
	fetches int
}

func (p *publisher) fetch(context.Context) (*gatehousev1.ListKeysResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	if p.hang != nil {
		p.hang()
	}
	if p.err != nil {
		return nil, p.err
	}
	response := &gatehousev1.ListKeysResponse{}
	for _, key := range p.keys {
		response.Keys = append(response.Keys, proto.CloneOf(key))
	}
	return response, nil
}

func (p *publisher) publish(pairs ...keyPair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.keys = nil, nil
	for _, pair := range pairs {
		p.keys = append(p.keys, pair.public)
	}
}

func (p *publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// testEnv is a verifier with everything around it.
type testEnv struct {
	*authn.Verifier
	keys      *authn.KeySet
	publisher *publisher
	clock     *clock
	edDSA     keyPair
	es256     keyPair
	rs256     keyPair
}

func newTestEnv(t testing.TB) *testEnv {
	t.Helper()
	h := &testEnv{
		publisher: &publisher{}, clock: newClock(),
		edDSA: newKeyPair(t, jwk.EdDSA), es256: newKeyPair(t, jwk.ES256),
		rs256: newKeyPair(t, jwk.RS256),
	}
	h.publisher.publish(h.edDSA, h.es256, h.rs256)
	h.keys = authn.NewKeySet(h.publisher.fetch, h.clock.Now)
	h.Verifier = authn.NewVerifier(h.keys, issuer, audience, h.clock.Now)
	return h
}

// claims are those of a good token.
func (h *testEnv) claims() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": issuer, "aud": audience, "sub": userID, "sid": session, "roles": []string{"user"}, "jti": "a token",
		"iat": h.clock.Now().Unix(), "exp": h.clock.Now().Add(15 * time.Minute).Unix(),
	}
}

// with returns the claims with one changed, or without it where the value is nil.
func with(claims jwt.MapClaims, name string, value any) jwt.MapClaims {
	claims[name] = value
	if value == nil {
		delete(claims, name)
	}
	return claims
}

// header returns the header of a good token of the pair.
func header(pair keyPair) map[string]any {
	return map[string]any{"typ": authn.TokenType, "kid": pair.public.GetKid()}
}

// sign makes a token with any header, method and key at all.
func sign(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := &jwt.Token{Header: header, Claims: claims, Method: method}
	if _, given := header["alg"]; !given {
		header["alg"] = method.Alg()
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// token signs claims as they should be signed.
func (pair keyPair) token(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	return sign(t, pair.method, pair.private, header(pair), claims)
}

// wantReason fails the test unless err is a refusal for this reason.
func wantReason(t testing.TB, err error, want gatehousev1.ErrorReason) {
	t.Helper()
	var refusal *apierr.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	if refusal.Reason() != want {
		t.Errorf("reason is %v (%v), want %v", refusal.Reason(), err, want)
	}
}

const (
	expired     = gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED
	invalid     = gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID
	missing     = gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING
	noRoute     = gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND
	unavailable = gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE
)
