// Package pagetoken seals where a page of a list ended. Clients can neither read a page token nor make one, nor use it
// for another list.
package pagetoken

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// Tokens seals and opens page tokens. A token is valid for its list only, and reveals nothing: it travels in URLs,
// which proxies log, and where a page ended can be an e-mail address. It is safe for concurrent use.
type Tokens struct{ keys []cipher.AEAD }

// New returns tokens that are sealed under the first master key, and accepted under the others as well.
func New(masterKeys ...[]byte) (*Tokens, error) {
	t := &Tokens{}
	for _, master := range masterKeys {
		key, err := hkdf.Key(sha256.New, master, nil, "gatehouse page tokens v2", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive the key of the page tokens: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("set up AES: %w", err)
		}
		// Nonces are random: good for 2^32 tokens under one key (NIST SP 800-38D, section 8.3), a page a second for 136
		// years.
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("set up GCM: %w", err)
		}
		t.keys = append(t.keys, aead)
	}
	return t, nil
}

var encoding = base64.RawURLEncoding.Strict()

// Make returns the token of the page after the one that ended with last. The list is named with all that selects it.
func (t *Tokens) Make(list, last string) string {
	sealed := t.keys[0].Seal(nil, nil, []byte(last), []byte(list)) //nolint:gosec // it makes the nonce itself
	return encoding.EncodeToString(sealed)
}

// Read returns where the page before ended: "" for the first page, whose token is "".
func (t *Tokens) Read(list, token string) (last string, err error) {
	if token == "" {
		return "", nil
	}
	sealed, err := encoding.DecodeString(token)
	if err != nil {
		return "", errors.New("it does not have the form of a page token")
	}
	for _, key := range t.keys {
		if opened, err := key.Open(nil, nil, sealed, []byte(list)); err == nil {
			return string(opened), nil
		}
	}
	return "", errors.New("it was not sealed for this list")
}
