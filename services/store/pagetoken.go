package store

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// pageTokens makes and reads page tokens: where a page ended, and a MAC that binds it to its list, so that a token is
// good for that list only, and for nobody else's. Nothing in one is secret.
type pageTokens struct{ keys [][]byte }

// newPageTokens takes the master key, under which tokens are made, and others under which tokens are believed as well.
func newPageTokens(masterKeys ...[]byte) (*pageTokens, error) {
	p := &pageTokens{}
	for _, master := range masterKeys {
		key, err := hkdf.Key(sha256.New, master, nil, "gatehouse page tokens v1", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive the key of the page tokens: %w", err)
		}
		p.keys = append(p.keys, key)
	}
	return p, nil
}

var pageEncoding = base64.RawURLEncoding.Strict()

// make gives the token of the page after the one that ended with last. The list is named with all that selects it.
func (p *pageTokens) make(list, last string) string {
	return pageEncoding.EncodeToString(append(pageMAC(p.keys[0], list, last), last...))
}

// read gives where the page before ended: "" for the first page, whose token is "".
func (p *pageTokens) read(list, token string) (last string, err error) {
	if token == "" {
		return "", nil
	}
	raw, err := pageEncoding.DecodeString(token)
	if err != nil || len(raw) < sha256.Size {
		return "", errors.New("it does not have the form of a page token")
	}
	last = string(raw[sha256.Size:])
	for _, key := range p.keys {
		if hmac.Equal(pageMAC(key, list, last), raw[:sha256.Size]) {
			return last, nil
		}
	}
	return "", errors.New("its MAC is wrong")
}

func pageMAC(key []byte, list, last string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(list + "\x00" + last))
	return hash.Sum(nil)
}
