package redisbackend

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	// sealLength is the length of the MAC at the end of what is under a key, in bytes. Whoever guesses has one try for
	// each write to Redis.
	sealLength = 16

	// stampLength is the length of a stamp, in bytes.
	stampLength = 16

	// clockSkew is how far the clocks of cache services may be apart.
	clockSkew = 10 * time.Second
)

// seal is the secret by which cache services know what they have put into Redis.
type seal []byte

// stamp is what an entry bears beside itself.
type stamp struct {
	position uint64    // all changes of the store up to here are in the entry, or floors.Timeless
	expires  time.Time // Redis forgets the entry then, unless somebody tells it not to
}

// close returns an entry as it is under a key: the entry, its stamp, and a MAC of both and of the key.
func (s seal) close(key string, entry []byte, stamped stamp) []byte {
	sealed := make([]byte, 0, len(entry)+stampLength+sealLength)
	sealed = append(sealed, entry...)
	sealed = binary.BigEndian.AppendUint64(sealed, stamped.position)
	sealed = binary.BigEndian.AppendUint64(sealed, uint64(max(0, stamped.expires.UnixMilli())))
	return append(sealed, s.mac(key, sealed)...)
}

// open returns the entry of what was found under a key, and its position. The entry is nil if no cache service has put
// it there, such as what was cut off, made up, or copied from under another key, of another run or epoch, and if it has
// expired by now and was kept or put back all the same.
func (s seal) open(key string, found []byte, now time.Time) (entry []byte, position uint64) {
	end := len(found) - sealLength
	if end < stampLength || !hmac.Equal(s.mac(key, found[:end]), found[end:]) {
		return nil, 0
	}
	stamped := found[end-stampLength : end]
	expires := binary.BigEndian.Uint64(stamped[8:])
	if oldest := now.Add(-clockSkew).UnixMilli(); oldest > 0 && expires < uint64(oldest) {
		return nil, 0
	}
	entry = found[: end-stampLength : end-stampLength]
	return entry, binary.BigEndian.Uint64(stamped)
}

// mac is of the length of the key, the key, and what follows it: no two of them make the same bytes.
func (s seal) mac(key string, stamped []byte) []byte {
	hash := hmac.New(sha256.New, s)
	hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	hash.Write([]byte(key))
	hash.Write(stamped)
	return hash.Sum(nil)[:sealLength]
}
