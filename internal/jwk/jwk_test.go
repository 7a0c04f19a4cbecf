package jwk_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
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

// The RSA key of RFC 7638, section 3.1, and its thumbprint.
const (
	rfc7638N = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n" +
		"3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6" +
		"qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rfc7638Thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
)

func rsaJWK() *gatehousev1.Key {
	return &gatehousev1.Key{
		Kty: "RSA", Alg: "RS256", Use: "sig", Kid: rfc7638Thumbprint, N: new(rfc7638N), E: new("AQAB"),
	}
}

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

func TestPublicRFCExamples(t *testing.T) {
	for _, test := range []struct {
		name       string
		key        *gatehousev1.Key
		thumbprint string
	}{
		{"RFC 8037, appendix A", okp(), rfc8037Thumbprint},
		{"RFC 7638, section 3.1", rsaJWK(), rfc7638Thumbprint},
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
	for _, bits := range []int{2048, 3072} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		wantRoundTrip(t, &private.PublicKey, "RS256")
	}
}

func wantRoundTrip(t *testing.T, public interface{ Equal(x crypto.PublicKey) bool }, algorithm string) {
	t.Helper()
	key, err := jwk.FromPublic(public)
	if err != nil {
		t.Fatal(err)
	}
	if key.GetAlg() != algorithm || key.GetUse() != "sig" || algorithm != "RS256" && len(key.GetX()) != 43 {
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

// TestFromPublicKeepsZeros checks a point whose x begins with a zero byte.
func TestFromPublicKeepsZeros(t *testing.T) {
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

func TestPublicRejects(t *testing.T) {
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
		{"RSA key for PS256", with(rsaJWK(), func(k *gatehousev1.Key) { k.Alg = "PS256" })},
		{"RSA key for HS256", with(rsaJWK(), func(k *gatehousev1.Key) { k.Alg = "HS256" })},
		{"RSA key on a curve", with(rsaJWK(), func(k *gatehousev1.Key) { k.Crv = new("P-256") })},
		{"no n", with(rsaJWK(), func(k *gatehousev1.Key) { k.N = nil })},
		{"no e", with(rsaJWK(), func(k *gatehousev1.Key) { k.E = nil })},
		{"the exponent 1", with(rsaJWK(), func(k *gatehousev1.Key) { k.E = new("AQ") })},
		{"the exponent 3", with(rsaJWK(), func(k *gatehousev1.Key) { k.E = new("Aw") })},
		{"the exponent with a leading zero", with(rsaJWK(), func(k *gatehousev1.Key) { k.E = new("AAEAAQ") })},
		{"a modulus with a leading zero", with(rsaJWK(), func(k *gatehousev1.Key) { k.N = new("AA" + "AA" + rfc7638N) })},
		{"an even modulus", with(rsaJWK(), func(k *gatehousev1.Key) { k.N = new(encode(modulus(2048, 0))) })},
		{"a modulus of 2,047 bits", with(rsaJWK(), func(k *gatehousev1.Key) { k.N = new(encode(modulus(2047, 1))) })},
		{"a modulus of 4,097 bits", with(rsaJWK(), func(k *gatehousev1.Key) { k.N = new(encode(modulus(4097, 1))) })},
		{"a byte moved from y to x", with(ec(), func(k *gatehousev1.Key) { moveByte(t, k) })},
	} {
		t.Run(test.name, func(t *testing.T) {
			if public, err := jwk.Public(test.key); err == nil {
				t.Errorf("it is read as %v", public)
			}
		})
	}
}

// modulus returns a number of as many bits that ends with this one. It is no product of two primes.
func modulus(bits int, last uint) []byte {
	n := new(big.Int).SetBit(new(big.Int), bits-1, 1)
	return n.SetBit(n, 0, last).Bytes()
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

func TestFromPublicUnsupported(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := func(bits, exponent int) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus(bits, 1)), E: exponent}
	}
	for name, key := range map[string]crypto.PublicKey{
		"P-384": p384.Public(), "a private key": private, "nothing": nil, "bytes": []byte("key"),
		"RSA of 2,047 bits": rsaKey(2047, 65537), "RSA of 4,097 bits": rsaKey(4097, 65537),
		"RSA with the exponent 3": rsaKey(2048, 3), "an empty RSA key": &rsa.PublicKey{},
	} {
		if got, err := jwk.FromPublic(key); err == nil {
			t.Errorf("%s becomes %v", name, got)
		}
	}
	if _, err := jwk.FromPublic(rsaKey(4096, 65537)); err != nil {
		t.Error(err)
	}
}

func TestCheckAlgorithm(t *testing.T) {
	for _, good := range []string{"EdDSA", "ES256", "RS256"} {
		if err := jwk.CheckAlgorithm(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "none", "HS256", "PS256", "eddsa", "ES384"} {
		if err := jwk.CheckAlgorithm(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
