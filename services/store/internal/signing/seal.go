// Package signing holds the private keys that access tokens are signed with: how they are made, sealed and used. It is
// the only code in Gatehouse that can make a token.
package signing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// MasterKeySize is the length of the master key in bytes.
const MasterKeySize = 32

// errWrongMasterKey is returned if what is in the database was sealed under another key, or was changed.
var errWrongMasterKey = errors.New("the master key does not open it: was the key changed, or the database swapped?")

// errWrongMasterKeys is returned for the same with two master keys.
var errWrongMasterKeys = errors.New("neither the master key nor the second one opens it")

// sealer seals private keys with AES-256-GCM under a key derived from the master key.
type sealer struct{ aead cipher.AEAD }

func newSealer(masterKey []byte) (*sealer, error) {
	if len(masterKey) != MasterKeySize {
		return nil, fmt.Errorf("the master key has %d bytes, not %d", len(masterKey), MasterKeySize)
	}
	// Derived for this one purpose, so that another use of the master key never shares a nonce space with this one.
	key, err := hkdf.Key(sha256.New, masterKey, nil, "gatehouse signing keys v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the sealing key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("set up GCM: %w", err)
	}
	return &sealer{aead: aead}, nil
}

// seal binds the secret to the id and algorithm of its key, so that rows cannot be swapped in the database.
func (s *sealer) seal(secret []byte, keyID, algorithm string) []byte {
	return s.aead.Seal(nil, nil, secret, binding(keyID, algorithm)) //nolint:gosec // this AEAD makes the nonce itself
}

func (s *sealer) open(sealed []byte, keyID, algorithm string) ([]byte, error) {
	secret, err := s.aead.Open(nil, nil, sealed, binding(keyID, algorithm))
	if err != nil {
		return nil, errWrongMasterKey
	}
	return secret, nil
}

func binding(keyID, algorithm string) []byte { return []byte(algorithm + "|" + keyID) }

// sealers are what opens private keys, and the one that seals them.
type sealers struct {
	first  *sealer
	second *sealer // opens only; nil if there is none
}

func newSealers(masterKey, second []byte) (*sealers, error) {
	first, err := newSealer(masterKey)
	if err != nil || second == nil {
		return &sealers{first: first}, err
	}
	other, err := newSealer(second)
	if err != nil {
		return nil, fmt.Errorf("second master key: %w", err)
	}
	return &sealers{first: first, second: other}, nil
}

// open returns the private half of a row.
func (s *sealers) open(row account.SigningKey) ([]byte, error) {
	secret, err := s.first.open(row.SealedPrivateKey, row.KeyID, row.Algorithm)
	if err != nil && s.second != nil {
		secret, err = s.second.open(row.SealedPrivateKey, row.KeyID, row.Algorithm)
		if err != nil {
			err = errWrongMasterKeys
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", row.KeyID, err)
	}
	return secret, nil
}

// reseal seals a row with the first key that only the second one opens. Where the first one opens it, there is nothing
// to do, and the result is nil.
func (s *sealers) reseal(row account.SigningKey) ([]byte, error) {
	if _, err := s.first.open(row.SealedPrivateKey, row.KeyID, row.Algorithm); err == nil {
		return nil, nil
	}
	secret, err := s.open(row)
	if err != nil {
		return nil, err
	}
	return s.first.seal(secret, row.KeyID, row.Algorithm), nil
}

// NewMasterKey makes a master key from the system's randomness.
func NewMasterKey() []byte {
	key := make([]byte, MasterKeySize)
	_, _ = rand.Read(key) // It never fails: crypto/rand ends the process instead.
	return key
}
