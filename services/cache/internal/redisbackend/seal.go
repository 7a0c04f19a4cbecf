package redisbackend

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// sealLength is the length of the MAC at the end of what is under a key, in bytes. Whoever guesses has one try for each
// write to Redis.
const sealLength = 16

// seal is the secret by which cache services know what they have put into Redis.
type seal []byte

// close gives an entry as it is under a key.
func (s seal) close(key string, entry []byte) []byte {
	return append(append(make([]byte, 0, len(entry)+sealLength), entry...), s.mac(key, entry)...)
}

// open gives the entry of what was found under a key, or nil if no cache service has put it there: what was cut off,
// made up, or copied from under another key, of another run or epoch.
func (s seal) open(key string, found []byte) []byte {
	end := len(found) - sealLength
	if end < 0 || !hmac.Equal(s.mac(key, found[:end]), found[end:]) {
		return nil
	}
	return found[:end:end]
}

// mac is of the length of the key, the key, and the entry: no two of them make the same bytes.
func (s seal) mac(key string, entry []byte) []byte {
	hash := hmac.New(sha256.New, s)
	hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	hash.Write([]byte(key))
	hash.Write(entry)
	return hash.Sum(nil)[:sealLength]
}
