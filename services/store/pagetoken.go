package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// pageTokens makes and reads page tokens: where a page ended, sealed. So a token is good for its list only, and for
// nobody else's, and shows nothing: it travels in URLs, which proxies log, and where a page ended can be an e-mail
// address.
type pageTokens struct{ keys []cipher.AEAD }

// newPageTokens takes the master key, under which tokens are made, and others under which tokens are believed as well.
func newPageTokens(masterKeys ...[]byte) (*pageTokens, error) {
	p := &pageTokens{}
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
		p.keys = append(p.keys, aead)
	}
	return p, nil
}

var pageEncoding = base64.RawURLEncoding.Strict()

// make gives the token of the page after the one that ended with last. The list is named with all that selects it.
func (p *pageTokens) make(list, last string) string {
	sealed := p.keys[0].Seal(nil, nil, []byte(last), []byte(list)) //nolint:gosec // it makes the nonce itself
	return pageEncoding.EncodeToString(sealed)
}

// read gives where the page before ended: "" for the first page, whose token is "".
func (p *pageTokens) read(list, token string) (last string, err error) {
	if token == "" {
		return "", nil
	}
	sealed, err := pageEncoding.DecodeString(token)
	if err != nil {
		return "", errors.New("it does not have the form of a page token")
	}
	for _, key := range p.keys {
		if opened, err := key.Open(nil, nil, sealed, []byte(list)); err == nil {
			return string(opened), nil
		}
	}
	return "", errors.New("it was not sealed for this list")
}
