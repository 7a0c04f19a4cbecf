package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
)

// The kinds of bcrypt that hash a digest of the password, so that its bytes beyond the 72nd count, too.
const (
	djangoPrefix    = "bcrypt_sha256$" // Django's BCryptSHA256PasswordHasher
	wordPressPrefix = "$wp"            // WordPress since 6.8
)

// prehashed is a digest of what prehash returns for the password.
type prehashed struct {
	algorithm.Digest

	prehash func(password string) string
}

// MatchAdvanced reports whether the password is the one that was hashed.
func (p prehashed) MatchAdvanced(password string) (bool, error) {
	return p.Digest.MatchAdvanced(p.prehash(password))
}

func decodeDjangoBcrypt(hash string) (algorithm.Digest, error) {
	digest, err := bcrypt.Decode(strings.TrimPrefix(hash, djangoPrefix))
	return prehashed{digest, func(password string) string {
		sum := sha256.Sum256([]byte(password))
		return hex.EncodeToString(sum[:])
	}}, err
}

func decodeWordPress(hash string) (algorithm.Digest, error) {
	digest, err := bcrypt.Decode(strings.TrimPrefix(hash, wordPressPrefix))
	return prehashed{digest, func(password string) string {
		mac := hmac.New(sha512.New384, []byte("wp-sha384")) // A constant, and no secret.
		mac.Write([]byte(strings.Trim(password, " \t\n\r\x00\x0b")))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}}, err
}
