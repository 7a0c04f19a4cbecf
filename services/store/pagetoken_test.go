package store

import (
	"bytes"
	"testing"
)

func TestPageTokensSurviveAChangeOfTheMasterKey(t *testing.T) {
	before, after := bytes.Repeat([]byte("o"), MasterKeySize), bytes.Repeat([]byte("n"), MasterKeySize)
	pages := map[string]*pageTokens{}
	for name, keys := range map[string][][]byte{"old": {before}, "both": {after, before}, "new": {after}} {
		made, err := newPageTokens(keys...)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = made
	}
	for _, test := range []struct {
		maker, reader string
		good          bool
	}{{"old", "both", true}, {"both", "new", true}, {"both", "both", true}, {"old", "new", false}, {"both", "old", false}} {
		last, err := pages[test.reader].read("list", pages[test.maker].make("list", "an id"))
		if (err == nil) != test.good || test.good && last != "an id" {
			t.Errorf("made under %s, read under %s: %q, %v", test.maker, test.reader, last, err)
		}
	}
}
