package emailaddr

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr/emailtest"
)

func TestCanonical(t *testing.T) {
	for _, pair := range emailtest.Same {
		if a, b := Canonical(pair[0]), Canonical(pair[1]); a != b {
			t.Errorf("%+q and %+q are %+q and %+q", pair[0], pair[1], a, b)
		}
	}
	for _, pair := range emailtest.Different {
		if a, b := Canonical(pair[0]), Canonical(pair[1]); a == b {
			t.Errorf("%+q and %+q are both %+q", pair[0], pair[1], a)
		}
	}
}

func TestDisplay(t *testing.T) {
	for address, wanted := range map[string]string{
		"\u00a0Ada@Example.com ": "Ada@Example.com",
		"Cafe\u0301@example.com": "Caf\u00e9@example.com",
		"Stra\u00dfe@\ufb01.com": "Stra\u00dfe@\ufb01.com",
		"":                       "",
	} {
		if got := Display(address); got != wanted {
			t.Errorf("Display(%+q) = %+q, want %+q", address, got, wanted)
		}
	}
}

func TestCanonicalAllCharacters(t *testing.T) {
	for char := range unicode.MaxRune {
		// Of all others nothing depends on case or normal form.
		if utf8.ValidRune(char) && (unicode.SimpleFold(char) != char || !norm.NFKD.IsNormalString(string(char))) {
			checkCanonical(t, "a"+string(char)+"z")
			checkCanonical(t, "a"+string(char)+"z@example.com")
			checkCanonical(t, "a@b"+string(char)+"z.example")
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, pair := range slices.Concat(emailtest.Same, emailtest.Different) {
		f.Add(pair[0])
		f.Add(pair[1])
	}
	f.Fuzz(func(t *testing.T, address string) {
		if utf8.ValidString(address) { // Protobuf strings are.
			checkCanonical(t, address)
		}
	})
}

func checkCanonical(t *testing.T, address string) {
	t.Helper()
	canonical := Canonical(address)
	if len(canonical) > 6*len(address) { // Of one character, UTS 46 makes up to six of the same length.
		t.Errorf("%+q has %d bytes, %+q has %d", address, len(address), canonical, len(canonical))
	}
	for _, same := range []string{
		canonical, Display(address), norm.NFD.String(address), " " + address + "\u00a0",
	} {
		if again := Canonical(same); again != canonical {
			t.Errorf("%+q is %+q, but %+q is %+q", address, canonical, same, again)
		}
	}
	if strings.TrimSpace(canonical) != canonical {
		t.Errorf("%+q has white space around", canonical)
	}
}
