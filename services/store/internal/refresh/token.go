package refresh

import (
	"crypto/aes"
	"crypto/cipher"
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
	// prefix allows people and secret scanners to recognize the string.
	prefix = "ghrt_"

	idLength     = len(uuid.UUID{})
	numberLength = 8
	boundLength  = idLength + numberLength

	// ivLength is that of the synthetic IV, which is the token's MAC as well: 128 bits, as in RFC 5297.
	ivLength     = aes.BlockSize
	sealedLength = ivLength + boundLength

	// clearLength is that of a token as versions before made it: id and number in clear, and an HMAC-SHA256.
	clearLength = boundLength + sha256.Size

	// The purposes keep these keys apart from each other and from all others that come of the master key.
	ivPurpose     = "gatehouse refresh tokens v2: synthetic IV"
	cipherPurpose = "gatehouse refresh tokens v2: encryption"
	clearPurpose  = "gatehouse refresh tokens v1"
)

// encoding rejects bits that no byte needs: a token has one spelling.
var encoding = base64.RawURLEncoding.Strict()

// Tokens makes and reads refresh tokens: session id and number, encrypted, so that two of them do not reveal whether
// there was one in between. A token is the same each time it is made, which is what a retry needs: the IV is a
// MAC of what is encrypted (the construction of RFC 5297, with HMAC-SHA256 and AES-256-CTR). The keys are derived
// from the master key, so that the database alone is not enough to make a token.
type Tokens struct{ keys []tokenKeys }

type tokenKeys struct {
	iv     []byte
	cipher cipher.Block
	clear  []byte
}

// NewTokens returns the Tokens of the master key, under which tokens are made, and of others whose tokens are accepted
// as well.
func NewTokens(masterKeys ...[]byte) (*Tokens, error) {
	t := &Tokens{}
	for _, master := range masterKeys {
		keys, err := newTokenKeys(master)
		if err != nil {
			return nil, fmt.Errorf("derive the keys of the refresh tokens: %w", err)
		}
		t.keys = append(t.keys, keys)
	}
	return t, nil
}

func newTokenKeys(master []byte) (keys tokenKeys, err error) {
	derived := map[string][]byte{}
	for _, purpose := range []string{ivPurpose, cipherPurpose, clearPurpose} {
		if derived[purpose], err = hkdf.Key(sha256.New, master, nil, purpose, sha256.Size); err != nil {
			return keys, err
		}
	}
	block, err := aes.NewCipher(derived[cipherPurpose])
	return tokenKeys{iv: derived[ivPurpose], cipher: block, clear: derived[clearPurpose]}, err
}

// Make returns the token of a session, whose id is a UUID, with this number. It is the same each time.
func (t *Tokens) Make(sessionID string, number int64) (string, error) {
	id, err := uuid.Parse(sessionID)
	if err != nil {
		return "", fmt.Errorf("make a refresh token: %w", err)
	}
	bound := binary.BigEndian.AppendUint64(id[:], uint64(number)) //nolint:gosec // read back as the same bits
	return prefix + encoding.EncodeToString(t.keys[0].seal(bound)), nil
}

// Read returns the session and the number of a token, also of one that a version before has made. It fails for whatever
// was not made here, and says how for the log without quoting it.
func (t *Tokens) Read(token string) (sessionID string, number int64, err error) {
	encoded, found := strings.CutPrefix(token, prefix)
	// The length first: base64 skips line breaks, with which one token would have many spellings.
	open, known := map[int]func(tokenKeys, []byte) ([]byte, bool){
		encoding.EncodedLen(sealedLength): tokenKeys.open,
		encoding.EncodedLen(clearLength):  tokenKeys.openClear,
	}[len(encoded)]
	if !found || !known {
		return "", 0, errors.New("it does not have the form of a refresh token")
	}
	raw, err := encoding.DecodeString(encoded)
	if err != nil || encoding.EncodedLen(len(raw)) != len(encoded) {
		return "", 0, errors.New("it is not base64url")
	}
	bound, made := t.open(raw, open)
	if !made {
		return "", 0, errors.New("its MAC is wrong")
	}
	number = int64(binary.BigEndian.Uint64(bound[idLength:])) //nolint:gosec // written from the same bits
	return uuid.UUID(bound[:idLength]).String(), number, nil
}

// open tries each key, whichever is the right one.
func (t *Tokens) open(raw []byte, open func(tokenKeys, []byte) ([]byte, bool)) (bound []byte, made bool) {
	for _, keys := range t.keys {
		if opened, good := open(keys, raw); good {
			bound, made = opened, true
		}
	}
	return bound, made
}

func (k tokenKeys) seal(bound []byte) []byte {
	iv := mac(k.iv, bound)[:ivLength]
	sealed := make([]byte, boundLength)
	cipher.NewCTR(k.cipher, iv).XORKeyStream(sealed, bound)
	return append(iv, sealed...)
}

func (k tokenKeys) open(raw []byte) (bound []byte, made bool) {
	iv, sealed := raw[:ivLength], raw[ivLength:]
	bound = make([]byte, boundLength)
	cipher.NewCTR(k.cipher, iv).XORKeyStream(bound, sealed)
	return bound, hmac.Equal(mac(k.iv, bound)[:ivLength], iv)
}

func (k tokenKeys) openClear(raw []byte) (bound []byte, made bool) {
	bound = raw[:boundLength]
	return bound, hmac.Equal(mac(k.clear, bound), raw[boundLength:])
}

func mac(key, message []byte) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write(message)
	return hash.Sum(nil)
}
