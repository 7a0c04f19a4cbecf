package storage

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// sameAddresses are pairs of one address each.
var sameAddresses = [][2]string{
	{"case@example.com", "CASE@Example.Com"},
	{"straße@example.com", "STRASSE@example.com"},
	{"grüße@example.com", "grüsse@example.com"},
	{"ὀδυσσεύς@example.com", "ὈΔΥΣΣΕΎΣ@example.com"}, // final sigma
	{"σίσυφος@example.com", "σίσυφοσ@example.com"},
	{"o\ufb03ce-\ufb01sh@example.com", "OFFICE-FISH@example.com"}, // ligatures
	{"\u0130stanbul@example.com", "i\u0307stanbul@example.com"},   // İ
	{"caf\u00e9@example.com", "cafe\u0301@example.com"},           // NFC, NFD
	{"\u1e9b\u0323@example.com", "\u017f\u0323\u0307@example.com"},
	{"\u212bngstr\u00f6m@example.com", "\u00e5NGSTRO\u0308M@example.com"}, // the sign of the unit
	{"nbsp@example.com", "\u00a0nbsp@example.com\u00a0"},
	{"space@example.com", "\t \u2003space@example.com\r\n \u3000\u0085"},
	{"\u01f0@example.com", "J\u030c@example.com"}, // folds to two code points that have one together
	{"\u1fb3@example.com", "\u03b1\u0345@example.com"},
	{"ꭰꭱ@example.com", "ᎠᎡ@example.com"}, // Cherokee folds to capitals
}

// otherAddresses are pairs of two addresses each, which one collation or another takes for the same.
var otherAddresses = [][2]string{
	{"rené@example.com", "rene@example.com"},
	{"zoë@example.com", "zoe@example.com"},
	{"łukasz@example.com", "lukasz@example.com"},
	{"ivan@example.com", "ıvan@example.com"}, // dotless i
	{"o'brien@example.com", "obrien@example.com"},
	{"per-son@example.com", "person@example.com"},
	{"zero@example.com", "ze\u200bro@example.com"},
	{"full@example.com", "ｆull@example.com"}, // full-width
	{"latin-a@example.com", "l\u0430tin-a@example.com"},
	{"あ@example.com", "ア@example.com"}, // Hiragana, Katakana
	{"🍣@example.com", "🍺@example.com"},
	{"nul@example.com", "nul@example.com\x00"},
	{"one@example.com", "one@example.com."},
	{"su@example.com", "s\u00fc@example.com"},
	{"sue@example.com", "s\u00fce@example.com"},
}

func TestCanonicalEmail(t *testing.T) {
	for _, pair := range sameAddresses {
		if a, b := CanonicalEmail(pair[0]), CanonicalEmail(pair[1]); a != b {
			t.Errorf("%+q and %+q are %+q and %+q", pair[0], pair[1], a, b)
		}
	}
	for _, pair := range otherAddresses {
		if a, b := CanonicalEmail(pair[0]), CanonicalEmail(pair[1]); a == b {
			t.Errorf("%+q and %+q are both %+q", pair[0], pair[1], a)
		}
	}
}

func TestDisplayEmail(t *testing.T) {
	for address, wanted := range map[string]string{
		"\u00a0Ada@Example.com ": "Ada@Example.com",
		"Cafe\u0301@example.com": "Caf\u00e9@example.com",
		"Stra\u00dfe@\ufb01.com": "Stra\u00dfe@\ufb01.com",
		"":                       "",
	} {
		if got := DisplayEmail(address); got != wanted {
			t.Errorf("DisplayEmail(%+q) = %+q, want %+q", address, got, wanted)
		}
	}
}

func TestCanonicalEmailOfEveryCharacter(t *testing.T) {
	for char := range unicode.MaxRune {
		// Of all others nothing depends on case or normal form.
		if utf8.ValidRune(char) && (unicode.SimpleFold(char) != char || !norm.NFKD.IsNormalString(string(char))) {
			checkCanonical(t, "a"+string(char)+"z")
		}
	}
}

func FuzzCanonicalEmail(f *testing.F) {
	for _, pair := range append(sameAddresses, otherAddresses...) {
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
	canonical := CanonicalEmail(address)
	if len(canonical) > 3*len(address) {
		t.Errorf("%+q has %d bytes, %+q has %d", address, len(address), canonical, len(canonical))
	}
	for _, same := range []string{
		canonical, DisplayEmail(address), norm.NFD.String(address), " " + address + "\u00a0",
		strings.ToLower(canonical), // Whoever writes all in small letters means the same address.
	} {
		if again := CanonicalEmail(same); again != canonical {
			t.Errorf("%+q is %+q, but %+q is %+q", address, canonical, same, again)
		}
	}
	if strings.TrimSpace(canonical) != canonical {
		t.Errorf("%+q has white space around", canonical)
	}
}
