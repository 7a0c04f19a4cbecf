package storage

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// passwordHashesSampled is a case of the conformance suite.
func passwordHashesSampled(t *testing.T, s *Storage) {
	sample := func() []string {
		t.Helper()
		hashes, err := s.SamplePasswordHashes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return hashes
	}
	if got := sample(); len(got) != 0 {
		t.Errorf("without accounts the sample is %q", got)
	}
	ada := addUser(t, s, "ada@example.com")
	addUser(t, s, "grace@example.com")
	if err := s.Rehash(t.Context(), ada.ID, hash, hash+"2"); err != nil {
		t.Fatal(err)
	}
	if got := sample(); !slices.Equal(got, []string{hash + "2", hash}) {
		t.Errorf("the sample is %q", got)
	}
	var many []userRow
	var credentials []credentialRow
	for i := range 2 * sampleRanges * sampleRange {
		user := newUser(fmt.Sprintf("user%05d@example.com", i))
		many, credentials = append(many, userRowOf(user)), append(credentials, credentialRow{user.ID, fmt.Sprint(hash, i)})
	}
	if err := errors.Join(s.db.CreateInBatches(many, 500).Error, s.db.CreateInBatches(credentials, 500).Error); err != nil {
		t.Fatal(err)
	}
	first := sample()
	if len(first) > sampleRanges*sampleRange || len(first) < sampleRanges*sampleRange/4 {
		t.Errorf("%d hashes are sampled", len(first))
	}
	if distinct := len(slices.Compact(slices.Sorted(slices.Values(first)))); distinct != len(first) {
		t.Errorf("%d accounts are sampled %d times", distinct, len(first))
	}
	if !slices.Equal(sample(), first) {
		t.Error("the same accounts give another sample")
	}
}

func TestTextBetween(t *testing.T) {
	for _, test := range []struct{ low, high, want string }{
		{"a", "c", "b!!!"},
		{"user00000", "user09999", "user04~~~"},
		{"user00000@example.com", "user00002@example.com", "user00001@exa"},
		{"same", "same", "same!!!!"},
		{"\u00e9", "\u00ea", "~~~~"},
	} {
		got := textBetween(test.low, test.high)
		if len(got) > len(test.want)+4 || got[:1] != test.want[:1] {
			t.Errorf("between %q and %q is %q", test.low, test.high, got)
		}
		if test.high[0] < 0x7f && test.low != test.high && (got < test.low || got > test.high) {
			t.Errorf("%q is not between %q and %q", got, test.low, test.high)
		}
	}
}
