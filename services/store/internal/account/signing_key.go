package account

import "time"

// SigningKey is a key that tokens are signed with. The private half is sealed. Its times are UTC with microseconds.
type SigningKey struct {
	Generation       int64 // grows with each key, and is never used again: the highest one is never deleted alone
	KeyID            string
	Algorithm        string
	PublicKey        []byte // PKIX, DER
	SealedPrivateKey []byte
	CreateTime       time.Time
	ActivateTime     time.Time     // when it begins to sign
	TokenLifetime    time.Duration // of the longest token that a store makes with it, in whole seconds
}

// ResealedKey is a signing key whose private half was sealed again.
type ResealedKey struct {
	KeyID  string
	Before []byte // as it was read
	After  []byte
}
