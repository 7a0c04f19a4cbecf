package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
)

// forgeries are authorization headers that an attacker with a good token of one account, and the public keys, can make.
func forgeries(t *testing.T, env *testEnv, token string) map[string][]string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := gatehousev1.NewKeyServiceClient(env.conn).ListKeys(callContext(t), &gatehousev1.ListKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	public, err := base64.RawURLEncoding.DecodeString(keys.GetKeys()[0].GetX())
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ownJWK, err := jwk.FromPublic(own.Public())
	if err != nil {
		t.Fatal(err)
	}
	resign := func(method jwt.SigningMethod, key any, change func(header map[string]any)) string {
		forged := jwt.NewWithClaims(method, parsed.Claims)
		header := maps.Clone(parsed.Header)
		header["alg"] = method.Alg()
		change(header)
		forged.Header = header
		signed, err := forged.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + signed
	}
	same := func(map[string]any) {}
	parts := strings.Split(token, ".")
	flip := func(part string) string {
		middle := len(part) / 2
		return part[:middle] + string(other(part[middle])) + part[middle+1:]
	}
	return map[string][]string{
		"basic authentication":           {"Basic YWRhOmNvcnJlY3QgaG9yc2U="},
		"the scheme alone":               {"Bearer "},
		"the scheme in small letters":    {"bearer " + token},
		"garbage":                        {"Bearer garbage"},
		"two tokens":                     {"Bearer " + token, "Bearer " + token},
		"a flipped bit in the signature": {"Bearer " + parts[0] + "." + parts[1] + "." + flip(parts[2])},
		"a flipped bit in the claims":    {"Bearer " + parts[0] + "." + flip(parts[1]) + "." + parts[2]},
		"a truncated token":              {"Bearer " + token[:len(token)-4]},
		"padding behind the signature":   {"Bearer " + token + "=="},
		"an oversized token":             {"Bearer " + token + strings.Repeat("a", 9<<10)},
		"algorithm none":                 {resign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, same)},
		"HMAC with the public key":       {resign(jwt.SigningMethodHS256, public, same)},
		"an unknown kid":                 {resign(jwt.SigningMethodES256, own, func(header map[string]any) { header["kid"] = "unknown" })},
		"no kid":                         {resign(jwt.SigningMethodES256, own, func(header map[string]any) { delete(header, "kid") })},
		"another's signature":            {resign(jwt.SigningMethodES256, own, same)},
		"another's key in the header": {resign(jwt.SigningMethodES256, own, func(header map[string]any) {
			header["jwk"] = map[string]string{
				"kty": ownJWK.GetKty(), "crv": ownJWK.GetCrv(), "alg": ownJWK.GetAlg(), "x": ownJWK.GetX(), "y": ownJWK.GetY(),
			}
		})},
	}
}

// other returns another letter of base64url whose bits matter in every position.
func other(letter byte) byte {
	if letter == 'A' {
		return 'Z'
	}
	return 'A'
}
