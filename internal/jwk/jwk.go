// Package jwk turns public keys into JSON Web Keys and back.
package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// The algorithms that tokens are signed with, by their names in RFC 7518 and RFC 8037.
const (
	EdDSA = "EdDSA"
	ES256 = "ES256"
)

// coordinateLength is the length of a P-256 coordinate in bytes (RFC 7518, section 6.2.1.2).
const coordinateLength = 32

var encoding = base64.RawURLEncoding.Strict()

// FromPublic describes a public key: Ed25519 for EdDSA, or ECDSA on P-256 for ES256.
func FromPublic(public crypto.PublicKey) (*gatehousev1.Key, error) {
	switch public := public.(type) {
	case ed25519.PublicKey:
		key := &gatehousev1.Key{
			Kty: "OKP", Alg: EdDSA, Use: "sig", Crv: new("Ed25519"),
			X: new(encoding.EncodeToString(public)),
		}
		// RFC 7638: the required members in lexicographic order, without white space.
		key.Kid = thumbprint(fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, key.GetX()))
		return key, nil
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 0x04, x, y
		if err != nil || public.Curve != elliptic.P256() {
			return nil, errors.New("an ECDSA key must be on P-256")
		}
		key := &gatehousev1.Key{
			Kty: "EC", Alg: ES256, Use: "sig", Crv: new("P-256"),
			X: new(encoding.EncodeToString(point[1 : 1+coordinateLength])),
			Y: new(encoding.EncodeToString(point[1+coordinateLength:])),
		}
		key.Kid = thumbprint(fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, key.GetX(), key.GetY()))
		return key, nil
	default:
		return nil, fmt.Errorf("a key of type %T has no JSON Web Key here", public)
	}
}

func thumbprint(members string) string {
	sum := sha256.Sum256([]byte(members))
	return encoding.EncodeToString(sum[:])
}

// Public reads a JSON Web Key. It refuses a key whose type, curve and algorithm do not belong together, and a point
// that is not on the curve.
func Public(key *gatehousev1.Key) (crypto.PublicKey, error) {
	x, err := encoding.DecodeString(key.GetX())
	if err != nil {
		return nil, fmt.Errorf("x of key %s: %w", key.GetKid(), err)
	}
	switch {
	case key.GetKty() == "OKP" && key.GetCrv() == "Ed25519" && key.GetAlg() == EdDSA:
		if len(x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("x of key %s has %d bytes, not %d", key.GetKid(), len(x), ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(x), nil
	case key.GetKty() == "EC" && key.GetCrv() == "P-256" && key.GetAlg() == ES256:
		y, err := encoding.DecodeString(key.GetY())
		if err != nil {
			return nil, fmt.Errorf("y of key %s: %w", key.GetKid(), err)
		}
		if len(x) != coordinateLength || len(y) != coordinateLength {
			return nil, fmt.Errorf("x and y of key %s have %d and %d bytes, not %d",
				key.GetKid(), len(x), len(y), coordinateLength)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, fmt.Errorf("point of key %s: %w", key.GetKid(), err)
		}
		return public, nil
	default:
		return nil, fmt.Errorf("key %s: kty %q, crv %q and alg %q do not belong together",
			key.GetKid(), key.GetKty(), key.GetCrv(), key.GetAlg())
	}
}
