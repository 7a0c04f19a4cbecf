package storage

import (
	"context"
	"unicode/utf8"

	"gorm.io/gorm"
)

const (
	// A sample is read in so many ranges of so many accounts, which bounds its cost.
	sampleRanges = 32
	sampleRange  = 64
)

// SamplePasswordHashes returns the password hashes of some accounts, or of all if there are few. They are spread over
// the addresses, whose order is independent of how and when a password was hashed. The same accounts have the same
// sample.
func (s *Storage) SamplePasswordHashes(ctx context.Context) ([]string, error) {
	hashes, err := samplePasswordHashes(ctx, s.db)
	if err != nil {
		return nil, s.wrap(ctx, "sample password hashes", err, nil)
	}
	return hashes, nil
}

// samplePasswordHashes reads a range in the middle of all addresses, then in the middle of those before and after it,
// and so on.
func samplePasswordHashes(ctx context.Context, db *gorm.DB) (hashes []string, err error) {
	read := func(from string, limit int) ([]ownedCredential, error) {
		return credentials(db, "canonical_email").Where("Owner.canonical_email >= ?", from).
			Order("Owner.canonical_email").Limit(limit).Find(ctx)
	}
	add := func(found []ownedCredential, before string) {
		for _, row := range found {
			if before == "" || row.Owner.CanonicalEmail < before { // The rest is in another range.
				hashes = append(hashes, row.Credential.PasswordHash)
			}
		}
	}
	const most = sampleRanges * sampleRange
	first, err := read("", most)
	if err != nil || len(first) < most {
		add(first, "")
		return hashes, err
	}
	last, err := gorm.G[userRow](db).Select("canonical_email").Where("canonical_email > ''").
		Order("canonical_email DESC").Take(ctx)
	gaps := [][2]string{{first[0].Owner.CanonicalEmail, last.CanonicalEmail}}
	for range sampleRanges {
		if err != nil || len(gaps) == 0 {
			return hashes, err
		}
		before, after := gaps[0][0], gaps[0][1]
		gaps = gaps[1:]
		middle := textBetween(before, after)
		if middle <= before {
			continue
		}
		var found []ownedCredential
		found, err = read(middle, sampleRange)
		add(found, after)
		gaps = append(gaps, [2]string{before, middle})
		if len(found) > 0 && found[len(found)-1].Owner.CanonicalEmail < after {
			gaps = append(gaps, [2]string{found[len(found)-1].Owner.CanonicalEmail, after})
		}
	}
	return hashes, err
}

// textBetween returns a text in the middle of two others: their common prefix, and then four characters between theirs.
func textBetween(low, high string) string {
	common := 0
	for common < min(len(low), len(high)) && low[common] == high[common] {
		common++
	}
	for common > 0 && !utf8.ValidString(low[:common]) {
		common--
	}
	const first, last, length = '!', '~', 4 // Of the printable characters of ASCII.
	number := func(text string) (n int) {
		for i := range length {
			digit := 0
			if i < len(text) {
				digit = int(min(max(text[i], first), last) - first)
			}
			n = n*(last-first+1) + digit
		}
		return n
	}
	n := (number(low[common:]) + number(high[common:])) / 2
	var between [length]byte
	for i := length - 1; i >= 0; i-- {
		between[i] = byte(first + n%(last-first+1)) //nolint:gosec // at most last
		n /= last - first + 1
	}
	return low[:common] + string(between[:])
}
