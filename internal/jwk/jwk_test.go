package jwk_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
)

// The key of RFC 8037, appendix A.2, and its thumbprint, appendix A.3.
const (
	rfc8037X          = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfc8037Thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
)

// The EC key of RFC 7517, appendix A.1. Its thumbprint was computed with another implementation.
const (
	rfc7517X = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
	rfc7517Y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
)

func okp() *gatehousev1.Key {
	return &gatehousev1.Key{
		Kty: "OKP", Crv: new("Ed25519"), Alg: "EdDSA", Use: "sig", Kid: rfc8037Thumbprint, X: new(rfc8037X),
	}
}

func ec() *gatehousev1.Key {
	return &gatehousev1.Key{
		Kty: "EC", Crv: new("P-256"), Alg: "ES256", Use: "sig",
		X: new(rfc7517X), Y: new(rfc7517Y),
	}
}

func TestTheKeysOfTheRFCs(t *testing.T) {
	for _, test := range []struct {
		name       string
		key        *gatehousev1.Key
		thumbprint string
	}{
		{"RFC 8037, appendix A", okp(), rfc8037Thumbprint},
		{"RFC 7517, appendix A.1", ec(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			public, err := jwk.Public(test.key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := jwk.FromPublic(public)
			if err != nil {
				t.Fatal(err)
			}
			want := proto.CloneOf(test.key)
			want.Kid = test.thumbprint
			if !proto.Equal(got, want) {
				t.Errorf("key is %v, want %v", got, want)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	for range 100 { // One coordinate in 256 begins with a zero byte, which must not be left out.
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		wantRoundTrip(t, &private.PublicKey, "ES256")
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantRoundTrip(t, public, "EdDSA")
}

func wantRoundTrip(t *testing.T, public interface{ Equal(x crypto.PublicKey) bool }, algorithm string) {
	t.Helper()
	key, err := jwk.FromPublic(public)
	if err != nil {
		t.Fatal(err)
	}
	if key.GetAlg() != algorithm || key.GetUse() != "sig" || len(key.GetX()) != 43 {
		t.Errorf("key is %v", key)
	}
	back, err := jwk.Public(key)
	if err != nil {
		t.Fatal(err)
	}
	if !public.Equal(back) {
		t.Errorf("%v came back as another key", key)
	}
}

// TestACoordinateKeepsItsZeros takes a point whose x begins with a zero byte.
func TestACoordinateKeepsItsZeros(t *testing.T) {
	scalar := make([]byte, 32)
	for i := range 1 << 16 {
		scalar[30], scalar[31] = byte(i>>8), byte(i)
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
		if err != nil {
			continue // 0 is no scalar.
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if point[1] == 0 {
			wantRoundTrip(t, &private.PublicKey, "ES256")
			return
		}
	}
	t.Fatal("no such point was found")
}

func TestWhatIsNoKeyIsRefused(t *testing.T) {
	with := func(key *gatehousev1.Key, change func(*gatehousev1.Key)) *gatehousev1.Key {
		change(key)
		return key
	}
	encode := base64.RawURLEncoding.EncodeToString
	for _, test := range []struct {
		name string
		key  *gatehousev1.Key
	}{
		{"nothing", nil},
		{"an empty key", &gatehousev1.Key{}},
		{"EdDSA key for ES256", with(okp(), func(k *gatehousev1.Key) { k.Alg = "ES256" })},
		{"EdDSA key for HS256", with(okp(), func(k *gatehousev1.Key) { k.Alg = "HS256" })},
		{"EdDSA key without algorithm", with(okp(), func(k *gatehousev1.Key) { k.Alg = "" })},
		{"EdDSA key for none", with(okp(), func(k *gatehousev1.Key) { k.Alg = "none" })},
		{"ES256 key for EdDSA", with(ec(), func(k *gatehousev1.Key) { k.Alg = "EdDSA" })},
		{"ES256 key for ES384", with(ec(), func(k *gatehousev1.Key) { k.Alg = "ES384" })},
		{"OKP on P-256", with(okp(), func(k *gatehousev1.Key) { k.Crv = new("P-256") })},
		{"OKP on X25519", with(okp(), func(k *gatehousev1.Key) { k.Crv = new("X25519") })},
		{"EC on Ed25519", with(ec(), func(k *gatehousev1.Key) { k.Crv = new("Ed25519") })},
		{"EC on P-384", with(ec(), func(k *gatehousev1.Key) { k.Crv = new("P-384") })},
		{"OKP called EC", with(okp(), func(k *gatehousev1.Key) { k.Kty = "EC" })},
		{"a symmetric key", &gatehousev1.Key{Kty: "oct", Alg: "HS256", X: new(rfc8037X)}},
		{"31 bytes", with(okp(), func(k *gatehousev1.Key) { k.X = new(encode(make([]byte, 31))) })},
		{"33 bytes", with(okp(), func(k *gatehousev1.Key) { k.X = new(encode(make([]byte, 33))) })},
		{"no x", with(okp(), func(k *gatehousev1.Key) { k.X = nil })},
		{"padded", with(okp(), func(k *gatehousev1.Key) { k.X = new(rfc8037X + "=") })},
		{"the alphabet that is not for URLs", with(okp(), func(k *gatehousev1.Key) {
			k.X = new(strings.ReplaceAll(rfc8037X, "_", "/"))
		})},
		{"bits left over", with(okp(), func(k *gatehousev1.Key) { k.X = new(rfc8037X[:42] + "p") })},
		{"no y", with(ec(), func(k *gatehousev1.Key) { k.Y = nil })},
		{"x and y swapped", with(ec(), func(k *gatehousev1.Key) { k.X, k.Y = k.Y, k.X })},
		{"a point off the curve", with(ec(), func(k *gatehousev1.Key) { k.Y = new("A" + rfc7517Y[1:]) })},
		{"the point 0, 0", with(ec(), func(k *gatehousev1.Key) {
			k.X, k.Y = new(encode(make([]byte, 32))), new(encode(make([]byte, 32)))
		})},
		{"a byte moved from y to x", with(ec(), func(k *gatehousev1.Key) { moveByte(t, k) })},
	} {
		t.Run(test.name, func(t *testing.T) {
			if public, err := jwk.Public(test.key); err == nil {
				t.Errorf("it is read as %v", public)
			}
		})
	}
}

// moveByte makes x a byte longer and y a byte shorter. Together they are the same bytes.
func moveByte(t *testing.T, key *gatehousev1.Key) {
	t.Helper()
	x, err := base64.RawURLEncoding.DecodeString(key.GetX())
	if err != nil {
		t.Fatal(err)
	}
	y, err := base64.RawURLEncoding.DecodeString(key.GetY())
	if err != nil {
		t.Fatal(err)
	}
	key.X = new(base64.RawURLEncoding.EncodeToString(append(x, y[0])))
	key.Y = new(base64.RawURLEncoding.EncodeToString(y[1:]))
}

func TestKeysOfOtherKindsHaveNoJWK(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PublicKey{
		"RSA": rsaKey.Public(), "P-384": p384.Public(), "a private key": private, "nothing": nil, "bytes": []byte("key"),
	} {
		if got, err := jwk.FromPublic(key); err == nil {
			t.Errorf("%s becomes %v", name, got)
		}
	}
}
