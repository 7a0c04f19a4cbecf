// Package jwk converts public keys to JSON Web Keys and back.
package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// The algorithms that tokens are signed with, by their names in RFC 7518 and RFC 8037.
const (
	EdDSA = "EdDSA"
	ES256 = "ES256"
	RS256 = "RS256" // for verifiers that support nothing else
)

// DefaultAlgorithm is that of an installation's first key unless it is configured. Nearly every JWT library verifies
// ES256; many widely used ones, such as jsonwebtoken for Node.js, do not know EdDSA.
const DefaultAlgorithm = ES256

// Algorithms lists them all, the best first.
func Algorithms() []string { return []string{EdDSA, ES256, RS256} }

// CheckAlgorithm reports an error unless tokens can be signed with the algorithm.
func CheckAlgorithm(algorithm string) error {
	if slices.Contains(Algorithms(), algorithm) {
		return nil
	}
	return fmt.Errorf("signing algorithm %q is not one of %s", algorithm, strings.Join(Algorithms(), ", "))
}

// coordinateLength is the length of a P-256 coordinate in bytes (RFC 7518, section 6.2.1.2).
const coordinateLength = 32

const (
	// minModulus and maxModulus bound an RSA key, in bits. RFC 7518, section 3.3, requires 2,048. More than 4,096
	// adds no relevant security, and the cost of a verification grows with the square of the length.
	minModulus = 2048
	maxModulus = 4096
	// publicExponent is that of all RSA keys that are made today. Others are errors or attacks: with 1 anyone can sign,
	// and large ones make verifications slow.
	publicExponent = 65537
)

var encoding = base64.RawURLEncoding.Strict()

// FromPublic returns the JSON Web Key of a public key: Ed25519 for EdDSA, ECDSA on P-256 for ES256, or RSA of 2,048 to
// 4,096 bits for RS256.
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
	case *rsa.PublicKey:
		if err := checkRSA(public); err != nil {
			return nil, err
		}
		key := &gatehousev1.Key{
			Kty: "RSA", Alg: RS256, Use: "sig",
			N: new(encoding.EncodeToString(public.N.Bytes())), E: new(encodedExponent()),
		}
		key.Kid = thumbprint(fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`, key.GetE(), key.GetN()))
		return key, nil
	default:
		return nil, fmt.Errorf("keys of type %T are not supported", public)
	}
}

func thumbprint(members string) string {
	sum := sha256.Sum256([]byte(members))
	return encoding.EncodeToString(sum[:])
}

func checkRSA(public *rsa.PublicKey) error {
	switch {
	case public.N == nil || public.N.BitLen() < minModulus || public.N.BitLen() > maxModulus:
		return fmt.Errorf("an RSA key must have %d to %d bits", minModulus, maxModulus)
	case public.N.Bit(0) == 0:
		return errors.New("the modulus of an RSA key must be odd")
	case public.E != publicExponent:
		return fmt.Errorf("the public exponent of an RSA key must be %d", publicExponent)
	}
	return nil
}

// encodedExponent is AQAB.
func encodedExponent() string { return encoding.EncodeToString(big.NewInt(publicExponent).Bytes()) }

// Public reads a JSON Web Key. It rejects a key whose type, curve and algorithm do not match, a point that is
// not on the curve, and an RSA key that is too short, too long or has an odd exponent.
func Public(key *gatehousev1.Key) (crypto.PublicKey, error) {
	switch {
	case key.GetKty() == "OKP" && key.GetCrv() == "Ed25519" && key.GetAlg() == EdDSA:
		return publicEd25519(key)
	case key.GetKty() == "EC" && key.GetCrv() == "P-256" && key.GetAlg() == ES256:
		return publicP256(key)
	case key.GetKty() == "RSA" && key.GetCrv() == "" && key.GetAlg() == RS256:
		return publicRSA(key)
	default:
		return nil, fmt.Errorf("key %s: kty %q, crv %q and alg %q do not match",
			key.GetKid(), key.GetKty(), key.GetCrv(), key.GetAlg())
	}
}

func publicEd25519(key *gatehousev1.Key) (crypto.PublicKey, error) {
	x, err := member(key, "x", key.GetX())
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x of key %s has %d bytes, not %d", key.GetKid(), len(x), ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}

func publicP256(key *gatehousev1.Key) (crypto.PublicKey, error) {
	x, err := member(key, "x", key.GetX())
	if err != nil {
		return nil, err
	}
	y, err := member(key, "y", key.GetY())
	if err != nil {
		return nil, err
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
}

func publicRSA(key *gatehousev1.Key) (crypto.PublicKey, error) {
	n, err := member(key, "n", key.GetN())
	if err != nil {
		return nil, err
	}
	// A modulus has one spelling: without leading zeros (RFC 7518, section 6.3.1.1).
	if len(n) == 0 || n[0] == 0 {
		return nil, fmt.Errorf("n of key %s is empty or begins with a zero", key.GetKid())
	}
	if key.GetE() != encodedExponent() {
		return nil, fmt.Errorf("e of key %s is not %s", key.GetKid(), encodedExponent())
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: publicExponent}
	if err := checkRSA(public); err != nil {
		return nil, fmt.Errorf("key %s: %w", key.GetKid(), err)
	}
	return public, nil
}

func member(key *gatehousev1.Key, name, value string) ([]byte, error) {
	decoded, err := encoding.DecodeString(value)
	if err != nil {
		return nil, fmt.Errorf("%s of key %s: %w", name, key.GetKid(), err)
	}
	return decoded, nil
}
