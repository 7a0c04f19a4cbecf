package main

import (
	"regexp"
	"testing"
)

func TestEpochBump(t *testing.T) {
	database := newDatabase(t)
	bump := func() (before, after string) {
		t.Helper()
		code, stdout, stderr := run(t, []string{"epoch", "bump", database})
		found := regexp.MustCompile(`^The epoch was (\S+), and is (\S+) now\.\n$`).FindStringSubmatch(stdout)
		if code != exitOK || found == nil {
			t.Fatalf("it ends with %d: %s%s", code, stdout, stderr)
		}
		return found[1], found[2]
	}
	first, second := bump()
	again, third := bump()
	if first == second || again != second || third == second || third == first {
		t.Errorf("the epochs are %s, %s, then %s, %s", first, second, again, third)
	}
	if code, _, stderr := run(t, []string{"epoch", "bump"}); code != exitUsage {
		t.Errorf("without a database it ends with %d: %s", code, stderr)
	}
}
