package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// generate makes a key pair for the algorithm and its row, sealed.
func (s *sealer) generate(algorithm string, generation int64) (storage.SigningKey, error) {
	private, err := newPrivateKey(algorithm)
	if err != nil {
		return storage.SigningKey{}, err
	}
	public, err := jwk.FromPublic(private.Public())
	if err != nil {
		return storage.SigningKey{}, err
	}
	publicDER, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return storage.SigningKey{}, fmt.Errorf("encode a public key: %w", err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return storage.SigningKey{}, fmt.Errorf("encode a private key: %w", err)
	}
	return storage.SigningKey{
		Generation: generation, KeyID: public.GetKid(), Algorithm: algorithm,
		PublicKey: publicDER, SealedPrivateKey: s.seal(privateDER, public.GetKid(), algorithm),
	}, nil
}

func newPrivateKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case jwk.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case jwk.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("signing algorithm %q is not %s or %s", algorithm, jwk.EdDSA, jwk.ES256)
	}
}

// signingMethod is the JWT method of an algorithm; nil for one that is not ours.
func signingMethod(algorithm string) jwt.SigningMethod {
	switch algorithm {
	case jwk.EdDSA:
		return jwt.SigningMethodEdDSA
	case jwk.ES256:
		return jwt.SigningMethodES256
	default:
		return nil
	}
}

// publicKey reads the public half of a row.
func publicKey(row storage.SigningKey) (*gatehousev1.Key, error) {
	public, err := x509.ParsePKIXPublicKey(row.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read the public key of %s: %w", row.KeyID, err)
	}
	key, err := jwk.FromPublic(public)
	if err != nil {
		return nil, err
	}
	if key.GetKid() != row.KeyID || key.GetAlg() != row.Algorithm {
		return nil, fmt.Errorf("signing key %s holds the public key of another", row.KeyID)
	}
	return key, nil
}

// privateKey opens the private half of a row and makes sure that it belongs to the public one.
func (s *sealer) privateKey(row storage.SigningKey) (crypto.Signer, error) {
	der, err := s.open(row.SealedPrivateKey, row.KeyID, row.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", row.KeyID, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read signing key %s: %w", row.KeyID, err)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s is a %T, which does not sign", row.KeyID, parsed)
	}
	public, err := jwk.FromPublic(private.Public())
	if err != nil || public.GetKid() != row.KeyID {
		return nil, fmt.Errorf("signing key %s holds the private key of another", row.KeyID)
	}
	return private, nil
}
