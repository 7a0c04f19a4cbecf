package password

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestDecoy checks that addresses without an account cost what those with one do, in the same shares.
func TestDecoy(t *testing.T) {
	hasher := cheapHasher(t)
	current, err := hasher.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	bcrypt, argon2 := "$2b$04$vFg1dPzkGnLy.J7LdGb2U.eC3qmQX3zCzb5P/nTnEuzyRcKmIDZ2a", filled("$argon2id$v=19$m=512,t=1,p=1", 16, 32)
	sample := slices.Concat(slices.Repeat([]string{current}, 5), slices.Repeat([]string{bcrypt}, 3), []string{argon2, argon2})
	kinds := func() (all []string) {
		for i := range 2000 {
			decoy := hasher.Decoy(fmt.Sprintf("nobody%d@example.com", i))
			all = append(all, decoy[:7])
		}
		return all
	}
	share := func(kinds []string, prefix string) float64 {
		n := 0
		for _, kind := range kinds {
			if strings.HasPrefix(prefix, kind) {
				n++
			}
		}
		return float64(n) / float64(len(kinds))
	}
	if got := share(kinds(), current); got != 1 {
		t.Errorf("before a sample, %v of the decoys are of the current parameters", got)
	}
	hasher.SampleHashes(sample)
	first := kinds()
	if got := share(first, bcrypt); got < 0.25 || got > 0.35 {
		t.Errorf("%v of the decoys are bcrypt, want 0.3", got)
	}
	outdated := 0
	for i := range 2000 {
		if decoy := hasher.Decoy(fmt.Sprintf("nobody%d@example.com", i)); strings.Contains(decoy, "m=512,") {
			outdated++
		}
	}
	if outdated < 300 || outdated > 500 {
		t.Errorf("%d of 2000 decoys have other parameters of Argon2id, want 400", outdated)
	}
	if !slices.Equal(kinds(), first) {
		t.Error("an address does not keep its decoy")
	}
	hasher.SampleHashes(append(sample, current))
	changed := 0
	for i, kind := range kinds() {
		if kind != first[i] {
			changed++
		}
	}
	if changed > 100 {
		t.Errorf("%d of 2000 addresses have another decoy after one more account", changed)
	}
	hasher.SampleHashes(nil)
	if got := share(kinds(), current); got != 1 {
		t.Errorf("without accounts, %v of the decoys are of the current parameters", got)
	}
}

// TestDecoyOfEachScheme can be verified, has nothing of anybody's hash, and matches no password of ours.
func TestDecoyOfEachScheme(t *testing.T) {
	hasher := cheapHasher(t)
	for _, test := range foreign {
		t.Run(test.name, func(t *testing.T) {
			hasher.SampleHashes([]string{test.hash})
			decoy := hasher.Decoy("nobody@example.com")
			if hasher.Outdated(test.hash) && len(decoy) != len(test.hash) {
				t.Errorf("the decoy is %q", decoy)
			}
			if digest := test.hash[len(test.hash)-16:]; strings.Contains(decoy, digest) {
				t.Error("the decoy has somebody's digest")
			}
			if err := hasher.VerifyDummy(t.Context(), "nobody@example.com", test.password); err != nil {
				t.Error(err)
			}
			if matches, err := hasher.Verify(t.Context(), decoy, test.password); err != nil || matches {
				t.Errorf("Verify = %v, %v", matches, err)
			}
		})
	}
}
