package refresh

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

const (
	// prefix lets people and secret scanners see what a string is.
	prefix = "ghrt_"

	numberLength = 8
	boundLength  = len(uuid.UUID{}) + numberLength
	rawLength    = boundLength + sha256.Size

	// keyPurpose keeps the key of these MACs apart from all others that come of the master key.
	keyPurpose = "gatehouse refresh tokens v1"
)

// encoding refuses bits that no byte needs: a token has one spelling.
var encoding = base64.RawURLEncoding.Strict()

// Tokens makes and reads refresh tokens: session id, number, and a MAC over both. The key comes of the master key, so
// that nobody can make one out of the database.
type Tokens struct{ keys [][]byte }

// NewTokens takes the master key, under which tokens are made, and others under which tokens are believed as well.
func NewTokens(masterKeys ...[]byte) (*Tokens, error) {
	t := &Tokens{}
	for _, master := range masterKeys {
		key, err := hkdf.Key(sha256.New, master, nil, keyPurpose, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive the key of the refresh tokens: %w", err)
		}
		t.keys = append(t.keys, key)
	}
	return t, nil
}

// Make gives the token of a session, whose id is a UUID, with this number. It is the same each time.
func (t *Tokens) Make(sessionID string, number int64) (string, error) {
	id, err := uuid.Parse(sessionID)
	if err != nil {
		return "", fmt.Errorf("make a refresh token: %w", err)
	}
	raw := binary.BigEndian.AppendUint64(id[:], uint64(number)) //nolint:gosec // read back as the same bits
	return prefix + encoding.EncodeToString(append(raw, mac(t.keys[0], raw)...)), nil
}

// Read gives the session and the number of a token. It fails for whatever was not made here, and says how for the log
// without quoting it.
func (t *Tokens) Read(token string) (sessionID string, number int64, err error) {
	encoded, found := strings.CutPrefix(token, prefix)
	// The length first: base64 skips line breaks, with which one token would have many spellings.
	if !found || len(encoded) != encoding.EncodedLen(rawLength) {
		return "", 0, errors.New("it does not have the form of a refresh token")
	}
	raw, err := encoding.DecodeString(encoded)
	if err != nil || len(raw) != rawLength {
		return "", 0, errors.New("it is not base64url")
	}
	bound := raw[:boundLength]
	if !t.made(bound, raw[boundLength:]) {
		return "", 0, errors.New("its MAC is wrong")
	}
	id := uuid.UUID(bound[:len(uuid.UUID{})])
	number = int64(binary.BigEndian.Uint64(bound[len(id):])) //nolint:gosec // written from the same bits
	return id.String(), number, nil
}

func (t *Tokens) made(bound, tag []byte) bool {
	good := false
	for _, key := range t.keys {
		good = hmac.Equal(mac(key, bound), tag) || good
	}
	return good
}

func mac(key, message []byte) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write(message)
	return hash.Sum(nil)
}
