package pagetoken

import (
	"bytes"
	"testing"
)

// TestTokens changes the master key.
func TestTokens(t *testing.T) {
	before, after := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("n"), 32)
	pages := map[string]*Tokens{}
	for name, keys := range map[string][][]byte{"old": {before}, "both": {after, before}, "new": {after}} {
		made, err := New(keys...)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = made
	}
	for _, test := range []struct {
		maker, reader string
		good          bool
	}{{"old", "both", true}, {"both", "new", true}, {"both", "both", true}, {"old", "new", false}, {"both", "old", false}} {
		last, err := pages[test.reader].Read("list", pages[test.maker].Make("list", "an id"))
		if (err == nil) != test.good || test.good && last != "an id" {
			t.Errorf("made under %s, read under %s: %q, %v", test.maker, test.reader, last, err)
		}
	}
}
