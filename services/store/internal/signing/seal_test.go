package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

func newTestSealer(t *testing.T, masterKey []byte) *sealer {
	t.Helper()
	s, err := newSealer(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSeal(t *testing.T) {
	masterKey := NewMasterKey()
	secret := []byte("the private half")
	sealed := newTestSealer(t, masterKey).seal(secret, "kid", jwk.EdDSA)
	opened, err := newTestSealer(t, masterKey).open(sealed, "kid", jwk.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(opened, secret) {
		t.Errorf("opened %q, want %q", opened, secret)
	}
	if bytes.Contains(sealed, secret) {
		t.Error("the sealed bytes hold the secret")
	}
}

func TestSealNonce(t *testing.T) {
	s := newTestSealer(t, NewMasterKey())
	if bytes.Equal(s.seal([]byte("secret"), "kid", jwk.EdDSA), s.seal([]byte("secret"), "kid", jwk.EdDSA)) {
		t.Error("two seals are the same: the nonce is not random")
	}
}

func TestUnsealChanged(t *testing.T) {
	masterKey := NewMasterKey()
	s := newTestSealer(t, masterKey)
	sealed := s.seal([]byte("secret"), "kid", jwk.EdDSA)
	other := slices.Clone(masterKey)
	other[31] ^= 1
	for _, test := range []struct {
		name             string
		sealer           *sealer
		sealed           []byte
		keyID, algorithm string
	}{
		{"another key's id", s, sealed, "other", jwk.EdDSA},
		{"another algorithm", s, sealed, "kid", jwk.ES256},
		{"id and algorithm run together otherwise", s, sealed, "|kid", jwk.EdDSA},
		{"another master key", newTestSealer(t, other), sealed, "kid", jwk.EdDSA},
		{"cut", s, sealed[:len(sealed)-1], "kid", jwk.EdDSA},
		{"longer", s, append(slices.Clone(sealed), 0), "kid", jwk.EdDSA},
		{"empty", s, nil, "kid", jwk.EdDSA},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened, err := test.sealer.open(test.sealed, test.keyID, test.algorithm)
			if !errors.Is(err, errWrongMasterKey) || opened != nil {
				t.Errorf("open = %q, %v", opened, err)
			}
		})
	}
	for bit := range len(sealed) * 8 {
		flipped := slices.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := s.open(flipped, "kid", jwk.EdDSA); !errors.Is(err, errWrongMasterKey) {
			t.Fatalf("with bit %d flipped: %v", bit, err)
		}
	}
}

func TestMasterKeySize(t *testing.T) {
	for _, size := range []int{0, 16, 31, 33, 64} {
		if _, err := newSealer(make([]byte, size)); err == nil {
			t.Errorf("%d bytes are accepted", size)
		}
	}
	first, second := NewMasterKey(), NewMasterKey()
	if len(first) != MasterKeySize || bytes.Equal(first, second) {
		t.Errorf("NewMasterKey gives %d bytes; twice the same: %v", len(first), bytes.Equal(first, second))
	}
}

func TestGenerate(t *testing.T) {
	s := newTestSealer(t, NewMasterKey())
	for _, algorithm := range jwk.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			row, err := s.generate(algorithm, 7)
			if err != nil {
				t.Fatal(err)
			}
			if row.Generation != 7 || row.Algorithm != algorithm {
				t.Errorf("row is %d, %s", row.Generation, row.Algorithm)
			}
			private, err := (&sealers{first: s}).privateKey(row)
			if err != nil {
				t.Fatal(err)
			}
			published, err := publicKey(row)
			if err != nil {
				t.Fatal(err)
			}
			public, err := jwk.FromPublic(published)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := jwk.FromPublic(private.Public())
			if err != nil {
				t.Fatal(err)
			}
			if public.GetKid() != row.KeyID || ours.GetKid() != row.KeyID || public.GetAlg() != algorithm {
				t.Errorf("ids are %s, %s and %s; alg is %s", row.KeyID, public.GetKid(), ours.GetKid(), public.GetAlg())
			}
			secret := secretOf(t, private)
			if bytes.Contains(row.SealedPrivateKey, secret) || bytes.Contains(row.PublicKey, secret) {
				t.Error("the row holds the private key in clear")
			}
		})
	}
}

// secretOf returns the secret bytes: the seed or the scalar.
func secretOf(t *testing.T, private crypto.Signer) []byte {
	t.Helper()
	switch private := private.(type) {
	case ed25519.PrivateKey:
		return private.Seed()
	case *ecdsa.PrivateKey:
		scalar, err := private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return scalar
	case *rsa.PrivateKey:
		return private.Primes[0].Bytes()
	default:
		t.Fatalf("the key is a %T", private)
		return nil
	}
}

func TestGenerateUnknownAlgorithm(t *testing.T) {
	for _, algorithm := range []string{"", "none", "HS256", "PS256", "eddsa"} {
		if _, err := newTestSealer(t, NewMasterKey()).generate(algorithm, 1); err == nil {
			t.Errorf("%q is accepted", algorithm)
		}
		if method := signingMethod(algorithm); method != nil {
			t.Errorf("%q is signed with %s", algorithm, method.Alg())
		}
	}
}

// TestUnsealSwappedRows swaps the columns of two rows, as somebody with the database but without the
// master key could.
func TestUnsealSwappedRows(t *testing.T) {
	s := newTestSealer(t, NewMasterKey())
	first, err := s.generate(jwk.EdDSA, 1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.generate(jwk.EdDSA, 2)
	if err != nil {
		t.Fatal(err)
	}
	sealed := first
	sealed.SealedPrivateKey = second.SealedPrivateKey
	if _, err := (&sealers{first: s}).privateKey(sealed); !errors.Is(err, errWrongMasterKey) {
		t.Errorf("private key of another row: %v", err)
	}
	renamed := first
	renamed.KeyID = second.KeyID
	if _, err := (&sealers{first: s}).privateKey(renamed); !errors.Is(err, errWrongMasterKey) {
		t.Errorf("private key under another id: %v", err)
	}
	if _, err := publicKey(renamed); err == nil || !strings.Contains(err.Error(), "of another") {
		t.Errorf("public key under another id: %v", err)
	}
	published := first
	published.PublicKey = second.PublicKey
	if _, err := publicKey(published); err == nil || !strings.Contains(err.Error(), "of another") {
		t.Errorf("public key of another row: %v", err)
	}
	recast := first
	recast.Algorithm = jwk.ES256
	if _, err := publicKey(recast); err == nil {
		t.Error("a public key under another algorithm is published")
	}
	// Sealed rightly, for a key that is not the one named: only a holder of the master key could do that.
	der, err := s.open(second.SealedPrivateKey, second.KeyID, second.Algorithm)
	if err != nil {
		t.Fatal(err)
	}
	resealed := first
	resealed.SealedPrivateKey = s.seal(der, first.KeyID, first.Algorithm)
	if _, err := (&sealers{first: s}).privateKey(resealed); err == nil || !strings.Contains(err.Error(), "private key of another") {
		t.Errorf("private key of another, sealed again: %v", err)
	}
}

func TestUnsealMalformedKey(t *testing.T) {
	s := newTestSealer(t, NewMasterKey())
	row, err := s.generate(jwk.ES256, 1)
	if err != nil {
		t.Fatal(err)
	}
	row.SealedPrivateKey = s.seal([]byte("no key"), row.KeyID, row.Algorithm)
	if _, err := (&sealers{first: s}).privateKey(row); err == nil || !strings.Contains(err.Error(), row.KeyID) {
		t.Errorf("private: %v", err)
	}
	row.PublicKey = []byte("no key")
	if _, err := publicKey(row); err == nil || !strings.Contains(err.Error(), row.KeyID) {
		t.Errorf("public: %v", err)
	}
}

func TestSealSecondMasterKey(t *testing.T) {
	old, current := NewMasterKey(), NewMasterKey()
	row, err := newTestSealer(t, old).generate(jwk.EdDSA, 1)
	if err != nil {
		t.Fatal(err)
	}
	both, err := newSealers(current, old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.privateKey(row); err != nil {
		t.Error(err)
	}
	made, err := both.first.generate(jwk.EdDSA, 2)
	if err != nil {
		t.Fatal(err)
	}
	resealed := row
	if resealed.SealedPrivateKey, err = both.reseal(row); err != nil || resealed.SealedPrivateKey == nil {
		t.Fatalf("reseal = %v, %v", resealed.SealedPrivateKey, err)
	}
	for name, row := range map[string]account.SigningKey{"made": made, "resealed": resealed} {
		if _, err := (&sealers{first: newTestSealer(t, current)}).privateKey(row); err != nil {
			t.Errorf("what was %s: %v", name, err)
		}
		if again, err := both.reseal(row); err != nil || again != nil {
			t.Errorf("what was %s is sealed again: %v, %v", name, again, err)
		}
	}
	stranger, err := newSealers(NewMasterKey(), NewMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.privateKey(row); !errors.Is(err, errWrongMasterKeys) {
		t.Errorf("two wrong master keys: %v", err)
	}
	if _, err := stranger.reseal(row); !errors.Is(err, errWrongMasterKeys) {
		t.Errorf("two wrong master keys seal it: %v", err)
	}
	if _, err := newSealers(current, []byte("short")); err == nil {
		t.Error("a short second master key is accepted")
	}
}
