package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// rsaBits is the length of the RSA keys that are made: 128 bits of security, as Ed25519 and P-256 have. 2,048 bits have
// 112, which NIST SP 800-57 part 1, revision 5, table 4, allows until 2030 only.
const rsaBits = 3072

// generate makes a key pair for the algorithm and its row, sealed. The times are the caller's to fill in.
func (s *sealer) generate(algorithm string, generation int64) (account.SigningKey, error) {
	private, err := newPrivateKey(algorithm)
	if err != nil {
		return account.SigningKey{}, err
	}
	public, err := jwk.FromPublic(private.Public())
	if err != nil {
		return account.SigningKey{}, err
	}
	publicDER, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return account.SigningKey{}, fmt.Errorf("encode a public key: %w", err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return account.SigningKey{}, fmt.Errorf("encode a private key: %w", err)
	}
	return account.SigningKey{
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
	case jwk.RS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		return nil, jwk.CheckAlgorithm(algorithm)
	}
}

// signingMethod is the JWT method of an algorithm; nil for one that is not ours.
func signingMethod(algorithm string) jwt.SigningMethod {
	switch algorithm {
	case jwk.EdDSA:
		return jwt.SigningMethodEdDSA
	case jwk.ES256:
		return jwt.SigningMethodES256
	case jwk.RS256:
		return jwt.SigningMethodRS256
	default:
		return nil
	}
}

// publicKey reads the public half of a row.
func publicKey(row account.SigningKey) (crypto.PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(row.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read the public key of %s: %w", row.KeyID, err)
	}
	key, err := jwk.FromPublic(public)
	if err != nil {
		return nil, err
	}
	if key.GetKid() != row.KeyID || key.GetAlg() != row.Algorithm {
		return nil, fmt.Errorf("signing key %s has the public key of another", row.KeyID)
	}
	return public, nil
}

// privateKey opens the private half of a row and makes sure that it belongs to the public one.
func (s *sealers) privateKey(row account.SigningKey) (crypto.Signer, error) {
	der, err := s.open(row)
	if err != nil {
		return nil, err
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
		return nil, fmt.Errorf("signing key %s has the private key of another", row.KeyID)
	}
	if _, err := publicKey(row); err != nil {
		return nil, err // No verifier could verify its signatures.
	}
	return private, nil
}
