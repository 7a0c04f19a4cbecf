package authn_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func TestVerifyCaller(t *testing.T) {
	h := newTestEnv(t)
	want := authn.Caller{
		UserID: userID, SessionID: session, Roles: []string{"user"}, TokenID: "a token", Issuer: issuer, Audience: audience,
		IssueTime: h.clock.Now(), ExpireTime: h.clock.Now().Add(15 * time.Minute),
	}
	for _, test := range []struct {
		name  string
		token string
	}{
		{"EdDSA", h.edDSA.token(t, h.claims())},
		{"ES256", h.es256.token(t, h.claims())},
		{"RS256", h.rs256.token(t, h.claims())},
		{"our audience among others", h.edDSA.token(t, with(h.claims(), "aud", []string{"other", audience}))},
		{"not valid before now", h.edDSA.token(t, with(h.claims(), "nbf", h.clock.Now().Unix()))},
		{"expires in a second", h.edDSA.token(t, with(h.claims(), "exp", h.clock.Now().Add(time.Second).Unix()))},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, turn := range []string{"first", "second"} { // The second is remembered.
				caller, err := h.Verify(t.Context(), test.token)
				if err != nil {
					t.Fatalf("%s time: %v", turn, err)
				}
				if test.name == "expires in a second" {
					caller.ExpireTime = caller.ExpireTime.Add(15*time.Minute - time.Second)
				}
				caller.IssueTime, caller.ExpireTime = caller.IssueTime.UTC(), caller.ExpireTime.UTC()
				if !reflect.DeepEqual(caller, want) {
					t.Errorf("%s time: caller is %+v, want %+v", turn, caller, want)
				}
			}
		})
	}
}

func TestVerifyRejectsOtherUses(t *testing.T) {
	h := newTestEnv(t)
	now := h.clock.Now()
	past := now.Add(-time.Second).Unix()
	for _, test := range []struct {
		name   string
		claims jwt.MapClaims
		want   gatehousev1.ErrorReason
	}{
		{"expired a second ago", with(h.claims(), "exp", past), expired},
		{"expires now", with(h.claims(), "exp", now.Unix()), expired},
		{"expired, for another audience", with(with(h.claims(), "exp", past), "aud", "other"), invalid},
		{"expired, of another issuer", with(with(h.claims(), "exp", past), "iss", "https://evil.example"), invalid},
		{"expired, not yet valid", with(with(h.claims(), "exp", past), "nbf", now.Add(time.Hour).Unix()), invalid},
		{"expired, without audience", with(with(h.claims(), "exp", past), "aud", nil), invalid},
		{"expired, without issuer", with(with(h.claims(), "exp", past), "iss", nil), invalid},
		{"another audience", with(h.claims(), "aud", "other"), invalid},
		{"an audience that begins like ours", with(h.claims(), "aud", audience+"2"), invalid},
		{"no audience", with(h.claims(), "aud", nil), invalid},
		{"an empty list of audiences", with(h.claims(), "aud", []string{}), invalid},
		{"another issuer", with(h.claims(), "iss", issuer+"/"), invalid},
		{"no issuer", with(h.claims(), "iss", nil), invalid},
		{"not yet valid", with(h.claims(), "nbf", now.Add(time.Second).Unix()), invalid},
		{"no expiry", with(h.claims(), "exp", nil), invalid},
		{"an expiry of text", with(h.claims(), "exp", "tomorrow"), invalid},
		{"no subject", with(h.claims(), "sub", nil), invalid},
		{"empty subject", with(h.claims(), "sub", ""), invalid},
		{"no session", with(h.claims(), "sid", nil), invalid},
		{"empty session", with(h.claims(), "sid", ""), invalid},
		{"a session of another type", with(h.claims(), "sid", 7), invalid},
		{"roles of another type", with(h.claims(), "roles", "admin"), invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			caller, err := h.Verify(t.Context(), h.edDSA.token(t, test.claims))
			wantReason(t, err, test.want)
			if !reflect.DeepEqual(caller, authn.Caller{}) {
				t.Errorf("a refused token names the caller %+v", caller)
			}
		})
	}
}

// TestVerifyRejectsForgeries holds the classic attacks on JWT (RFC 8725, section 2).
func TestVerifyRejectsForgeries(t *testing.T) {
	h := newTestEnv(t)
	stranger, strangerEC := newKeyPair(t, jwk.EdDSA), newKeyPair(t, jwk.ES256)
	// An attacker who has the public key, in every form that a careless verifier could take for an HMAC key.
	raw := []byte(h.edDSA.private.Public().(ed25519.PublicKey))
	der, err := x509.MarshalPKIXPublicKey(h.edDSA.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	rsaDER, err := x509.MarshalPKIXPublicKey(h.rs256.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	asRSAPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: rsaDER})
	set := func(pair keyPair, name string, value any) map[string]any {
		head := header(pair)
		head[name] = value
		if value == nil {
			delete(head, name)
		}
		return head
	}
	good := h.edDSA.token(t, h.claims())
	part := strings.Split(good, ".")
	for _, test := range []struct{ name, token string }{
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, header(h.edDSA), h.claims())},
		{"alg NONE", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, set(h.edDSA, "alg", "NONE"), h.claims())},
		{"alg none over a good signature", encode(`{"alg":"none","typ":"at+jwt","kid":"`+h.edDSA.public.GetKid()+`"}`) +
			"." + part[1] + "." + part[2]},
		{"HMAC with the public key's bytes", sign(t, jwt.SigningMethodHS256, raw, header(h.edDSA), h.claims())},
		{"HMAC with the public key's DER", sign(t, jwt.SigningMethodHS256, der, header(h.edDSA), h.claims())},
		{"HMAC with the public key's PEM", sign(t, jwt.SigningMethodHS256, asPEM, header(h.edDSA), h.claims())},
		{"HMAC called EdDSA", sign(t, jwt.SigningMethodHS256, raw, set(h.edDSA, "alg", "EdDSA"), h.claims())},
		{"ES256 under the id of an EdDSA key", sign(t, jwt.SigningMethodES256, h.es256.private, header(h.edDSA), h.claims())},
		{"EdDSA under the id of an ES256 key", sign(t, jwt.SigningMethodEdDSA, h.edDSA.private, header(h.es256), h.claims())},
		{"PS256 of an RS256 key", sign(t, jwt.SigningMethodPS256, h.rs256.private, header(h.rs256), h.claims())},
		{"RS512 of an RS256 key", sign(t, jwt.SigningMethodRS512, h.rs256.private, header(h.rs256), h.claims())},
		{"HMAC with an RSA key's PEM", sign(t, jwt.SigningMethodHS256, asRSAPEM, header(h.rs256), h.claims())},
		{"HMAC with an RSA key's PEM, called RS256", sign(t, jwt.SigningMethodHS256, asRSAPEM,
			set(h.rs256, "alg", "RS256"), h.claims())},
		{"RS256 under the id of an EdDSA key", sign(t, jwt.SigningMethodRS256, h.rs256.private, header(h.edDSA), h.claims())},
		{"another key under our id", sign(t, jwt.SigningMethodEdDSA, stranger.private, header(h.edDSA), h.claims())},
		{"another EC key under our id", sign(t, jwt.SigningMethodES256, strangerEC.private, header(h.es256), h.claims())},
		{"the key of a stranger", stranger.token(t, h.claims())},
		{"a key in the header", sign(t, jwt.SigningMethodEdDSA, stranger.private,
			set(h.edDSA, "jwk", map[string]string{"kty": "OKP", "crv": "Ed25519", "x": stranger.public.GetX()}), h.claims())},
		{"no kid", sign(t, jwt.SigningMethodEdDSA, h.edDSA.private, set(h.edDSA, "kid", nil), h.claims())},
		{"empty kid", sign(t, jwt.SigningMethodEdDSA, h.edDSA.private, set(h.edDSA, "kid", ""), h.claims())},
		{"a kid that is no text", sign(t, jwt.SigningMethodEdDSA, h.edDSA.private, set(h.edDSA, "kid", 1), h.claims())},
		{"typ JWT", sign(t, jwt.SigningMethodEdDSA, h.edDSA.private, set(h.edDSA, "typ", "JWT"), h.claims())},
		{"no typ", sign(t, jwt.SigningMethodEdDSA, h.edDSA.private, set(h.edDSA, "typ", nil), h.claims())},
		{"expired, of a stranger's key", sign(t, jwt.SigningMethodEdDSA, stranger.private, header(h.edDSA),
			with(h.claims(), "exp", h.clock.Now().Add(-time.Hour).Unix()))},
		{"other claims under a good signature", part[0] + "." +
			strings.Split(h.edDSA.token(t, with(h.claims(), "sub", "somebody else")), ".")[1] + "." + part[2]},
		{"no signature", part[0] + "." + part[1] + "."},
		{"two parts", part[0] + "." + part[1]},
		{"four parts", good + ".x"},
		{"padded", good + "="},
		{"space before", " " + good},
		{"newline after", good + "\n"},
		{"over 8 KiB", h.edDSA.token(t, with(h.claims(), "filler", strings.Repeat("a", 8<<10)))},
		{"empty", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // A forgery must not be remembered as good either.
				_, err := h.Verify(t.Context(), test.token)
				wantReason(t, err, invalid)
			}
		})
	}
}

// TestVerifyPinsAlgorithm looks at the log's text, because the types of the keys would stop these as well, but
// later and by luck.
func TestVerifyPinsAlgorithm(t *testing.T) {
	h := newTestEnv(t)
	for _, token := range []string{
		sign(t, jwt.SigningMethodES256, h.es256.private, header(h.edDSA), h.claims()),
		sign(t, jwt.SigningMethodRS256, h.rs256.private, header(h.es256), h.claims()),
		sign(t, jwt.SigningMethodEdDSA, h.edDSA.private, header(h.es256), h.claims()),
	} {
		_, err := h.Verify(t.Context(), token)
		wantReason(t, err, invalid)
		if err != nil && !strings.Contains(err.Error(), "alg is not that of the key") {
			t.Errorf("error is %v", err)
		}
	}
}

func encode(part string) string { return base64.RawURLEncoding.EncodeToString([]byte(part)) }

func TestVerifyMaxLength(t *testing.T) {
	h := newTestEnv(t)
	bare := len(h.edDSA.token(t, with(h.claims(), "filler", "")))
	token := h.edDSA.token(t, with(h.claims(), "filler", strings.Repeat("a", (8<<10-bare)*3/4)))
	if len(token) < 8<<10-8 || len(token) > 8<<10 {
		t.Fatalf("the test made a token of %d bytes", len(token))
	}
	if _, err := h.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestVerifyRememberedTokenExpires(t *testing.T) {
	h := newTestEnv(t)
	token := h.edDSA.token(t, with(h.claims(), "exp", h.clock.Now().Add(time.Minute).Unix()))
	if _, err := h.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	h.clock.pass(time.Minute - time.Nanosecond)
	if _, err := h.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	h.clock.pass(time.Nanosecond)
	_, err := h.Verify(t.Context(), token)
	wantReason(t, err, expired)
	h.clock.pass(time.Hour) // By now it is not in the memory of verified tokens, and is parsed.
	_, err = h.Verify(t.Context(), token)
	wantReason(t, err, expired)
}

// TestVerifyRevokedKey covers tokens that were verified before and tokens that were not: the memory of tokens must not extend
// the life of a key.
func TestVerifyRevokedKey(t *testing.T) {
	t.Run("verifies_until_the_next_refresh", func(t *testing.T) {
		h := newTestEnv(t)
		token := h.edDSA.token(t, h.claims())
		if _, err := h.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		h.publisher.publish(h.es256)
		for name, token := range map[string]string{
			"remembered": token, "new": h.edDSA.token(t, with(h.claims(), "jti", "b")),
		} {
			if _, err := h.Verify(t.Context(), token); err != nil {
				t.Errorf("before the keys are fetched again, a %s token: %v", name, err)
			}
		}
		if err := h.keys.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{token, h.edDSA.token(t, with(h.claims(), "jti", "c"))} {
			for range 2 {
				_, err := h.Verify(t.Context(), token)
				wantReason(t, err, invalid)
			}
		}
		if _, err := h.Verify(t.Context(), h.es256.token(t, h.claims())); err != nil {
			t.Errorf("the key that was not revoked: %v", err)
		}
	})
}

func TestValidateNames(t *testing.T) {
	for _, good := range []string{
		issuer, "http://localhost:8080", "https://example.com/accounts", "https://[::1]:8443", "HTTPS://example.com",
	} {
		if err := authn.ValidateNames(good, audience); err != nil {
			t.Error(err)
		}
	}
	err := authn.ValidateNames("", "")
	if err == nil || !strings.Contains(err.Error(), "issuer") || !strings.Contains(err.Error(), "audience") {
		t.Errorf("error is %v, want one that names both", err)
	}
	for bad, want := range map[string]string{
		"gatehouse": "http or https URL", "example.com": "http or https URL", "//example.com": "http or https URL",
		"ftp://example.com": "http or https URL", "https://": "http or https URL", "https://:8080": "http or https URL",
		"https://example.com:port": "http or https URL", "urn:gatehouse": "http or https URL",
		"https://example.com/": "slash", "https://example.com/accounts/": "slash",
		"https://example.com?a=b": "query", "https://example.com?": "query", "https://example.com#a": "fragment",
		"https://example.com#": "fragment", "https://ada@example.com": "without user",
	} {
		if err := authn.ValidateNames(bad, audience); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", bad, err, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	h := newTestEnv(f)
	good := h.edDSA.token(f, h.claims())
	part := strings.Split(good, ".")
	for _, seed := range []string{
		"", ".", "..", "...", "a.b.c", part[0] + "..", part[0] + "." + part[1] + ".",
		encode(`{"alg":"none","typ":"at+jwt","kid":"`+h.edDSA.public.GetKid()+`"}`) + "." + part[1] + ".",
		encode(`{"alg":"EdDSA","typ":"at+jwt","kid":{}}`) + "." + part[1] + "." + part[2],
		encode(`{"alg":1}`) + ".e30.", encode(`null`) + "." + encode(`null`) + ".", encode(`[]`) + ".W10.AA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if caller, err := h.Verify(t.Context(), token); err == nil && token != good {
			t.Errorf("%q is admitted as %+v", token, caller)
		}
	})
}
