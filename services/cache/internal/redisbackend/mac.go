package redisbackend

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	// macLength is the length of the MAC at the end of each value in Redis, in bytes. An attacker who guesses has one
	// try for each write to Redis.
	macLength = 16

	// stampLength is the length of a stamp, in bytes.
	stampLength = 16

	// clockSkew is how far the clocks of cache services may be apart.
	clockSkew = 10 * time.Second
)

// mac is the secret key with which cache services authenticate what they put into Redis.
type mac []byte

// stamp is the metadata that a value in Redis has beside its entry.
type stamp struct {
	position uint64    // the entry shows all changes of the store up to here, or minrank.Timeless
	expires  time.Time // when Redis expires the entry, unless somebody makes it persistent
}

// append returns the value to store under a key: the entry, its stamp, and a MAC of both and of the key.
func (m mac) append(key string, entry []byte, stamped stamp) []byte {
	value := make([]byte, 0, len(entry)+stampLength+macLength)
	value = append(value, entry...)
	value = binary.BigEndian.AppendUint64(value, stamped.position)
	value = binary.BigEndian.AppendUint64(value, uint64(max(0, stamped.expires.UnixMilli())))
	return append(value, m.sum(key, value)...)
}

// verify returns the entry in a value that was found under a key, and the position of the entry. The entry is nil if no
// cache service has put the value under this key, as when it was truncated, forged, or copied from another key,
// instance or epoch, and if the entry has expired and was kept or put back nevertheless.
func (m mac) verify(key string, value []byte, now time.Time) (entry []byte, position uint64) {
	end := len(value) - macLength
	if end < stampLength || !hmac.Equal(m.sum(key, value[:end]), value[end:]) {
		return nil, 0
	}
	stamped := value[end-stampLength : end]
	expires := binary.BigEndian.Uint64(stamped[8:])
	if oldest := now.Add(-clockSkew).UnixMilli(); oldest > 0 && expires < uint64(oldest) {
		return nil, 0
	}
	entry = value[: end-stampLength : end-stampLength]
	return entry, binary.BigEndian.Uint64(stamped)
}

// sum returns the MAC of the length of the key, the key, and what follows it. Different inputs never have the same
// encoding.
func (m mac) sum(key string, stamped []byte) []byte {
	hash := hmac.New(sha256.New, m)
	hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	hash.Write([]byte(key))
	hash.Write(stamped)
	return hash.Sum(nil)[:macLength]
}
