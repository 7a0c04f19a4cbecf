package storage

import (
	"context"
	"unicode/utf8"

	"gorm.io/gorm"
)

const (
	// A sample is taken in so many stretches of so many accounts, which bounds what it costs.
	sampleStretches = 32
	sampleStretch   = 64
)

// SamplePasswordHashes returns the password hashes of some accounts, or of all if there are few. They are spread over
// the addresses, whose order has nothing to do with how and when a password was hashed. As long as there are the same
// accounts, they are the same.
func (s *Storage) SamplePasswordHashes(ctx context.Context) ([]string, error) {
	hashes, err := samplePasswordHashes(s.db.WithContext(ctx))
	if err != nil {
		return nil, s.explain(ctx, "sample password hashes", err, nil)
	}
	return hashes, nil
}

// sampled is an account of a sample.
type sampled struct{ CanonicalEmail, PasswordHash string }

// samplePasswordHashes reads a stretch in the middle of all addresses, and then in the middle of what is before and
// after it, and so on.
func samplePasswordHashes(db *gorm.DB) (hashes []string, err error) {
	read := func(from string, limit int) (found []sampled, err error) {
		err = db.Raw(`SELECT u.canonical_email, c.password_hash FROM users u JOIN credentials c ON c.user_id = u.id
			WHERE u.canonical_email >= ? ORDER BY u.canonical_email LIMIT ?`, from, limit).Scan(&found).Error
		return found, err
	}
	add := func(found []sampled, before string) {
		for _, current := range found {
			if before == "" || current.CanonicalEmail < before { // The rest is in another stretch.
				hashes = append(hashes, current.PasswordHash)
			}
		}
	}
	const most = sampleStretches * sampleStretch
	first, err := read("", most)
	if err != nil || len(first) < most {
		add(first, "")
		return hashes, err
	}
	var last string
	err = db.Raw("SELECT canonical_email FROM users WHERE canonical_email > '' ORDER BY canonical_email DESC LIMIT 1").
		Scan(&last).Error
	gaps := [][2]string{{first[0].CanonicalEmail, last}}
	for range sampleStretches {
		if err != nil || len(gaps) == 0 {
			return hashes, err
		}
		before, after := gaps[0][0], gaps[0][1]
		gaps = gaps[1:]
		middle := textBetween(before, after)
		if middle <= before {
			continue
		}
		var found []sampled
		found, err = read(middle, sampleStretch)
		add(found, after)
		gaps = append(gaps, [2]string{before, middle})
		if len(found) > 0 && found[len(found)-1].CanonicalEmail < after {
			gaps = append(gaps, [2]string{found[len(found)-1].CanonicalEmail, after})
		}
	}
	return hashes, err
}

// textBetween returns a text in the middle of two others: what they have in common, and then four characters between
// theirs.
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
