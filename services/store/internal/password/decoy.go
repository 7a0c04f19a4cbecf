package password

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"
)

// maxDecoys bounds the kinds of hashes that are imitated: the most common ones.
const maxDecoys = 16

// decoys are the hashes that log-ins without an account are verified against. Each address has one of them, always the
// same while the accounts do not change, and each kind of hash (scheme and parameters) has as large a share of the
// addresses without an account as it has of those with one. So the duration of a failed log-in does not reveal whether
// an account exists. It is safe for concurrent use.
type decoys struct {
	key     []byte // secret, so that the decoy of an address cannot be predicted
	current string // of the current parameters
	others  atomic.Pointer[[]decoy]
}

// decoy is a hash of an account that does not exist.
type decoy struct {
	hash string
	upTo float64 // the shares of this kind and of those before it
}

// pick returns the decoy of an address in canonical form.
func (d *decoys) pick(email string) string {
	mac := hmac.New(sha256.New, d.key)
	mac.Write([]byte(email))
	point := float64(binary.BigEndian.Uint64(mac.Sum(nil))) / math.MaxUint64
	if others := d.others.Load(); others != nil {
		for _, other := range *others {
			if point < other.upTo {
				return other.hash
			}
		}
	}
	return d.current
}

// set makes the shares those of a sample of the hashes of all accounts.
func (d *decoys) set(sample []string, isCurrent func(hash string) bool) {
	count := map[string]int{}
	for _, hash := range sample {
		if blank, ok := blankHash(hash); ok && !isCurrent(hash) {
			count[blank]++
		}
	}
	common := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	common = common[:min(len(common), maxDecoys)]
	slices.Sort(common) // So that few addresses change their decoy when the shares do.
	others, total := make([]decoy, 0, len(common)), 0
	for _, hash := range common {
		total += count[hash]
		others = append(others, decoy{hash: hash, upTo: float64(total) / float64(len(sample))})
	}
	d.others.Store(&others)
}

// blankHash returns a hash of the same cost that is nobody's: with a salt and a digest of zeros. It reports false for
// what cannot be verified.
func blankHash(hash string) (string, bool) {
	if _, err := decodeStored(hash); err != nil {
		return "", false
	}
	zero, parts := "A", 2
	ofBcrypt := strings.HasPrefix(hash, "$2") || strings.HasPrefix(hash, wordPressPrefix) ||
		strings.HasPrefix(hash, djangoPrefix)
	switch {
	case ofBcrypt: // Its salt and digest are one part, and its alphabet is another.
		zero, parts = ".", 1
	case strings.HasPrefix(hash, "$6$"):
		zero = "."
	}
	fields := strings.Split(hash, "$")
	for i := len(fields) - parts; i < len(fields); i++ {
		fields[i] = strings.Repeat(zero, len(fields[i]))
	}
	return strings.Join(fields, "$"), true
}
