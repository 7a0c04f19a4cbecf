// Package emailaddr compares and checks e-mail addresses (ADR 0024). Which addresses are equal decides who can log in:
// a change of Canonical requires a migration.
package emailaddr

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Canonical returns the form in which addresses are compared, byte by byte: addresses with one canonical form are one
// mailbox, and have one account. It is the only function that makes this form.
//
// The part before the @ is in simple case folding and normal form C: Ada is ada, and É is é, but ß is not ss, as no
// mail server takes one for the other. RFC 5321 would let a server tell Ada@ from ada@; none that matters does. Accents
// count, and so does what Unicode calls compatibility: full-width letters are other letters.
//
// The domain is in the form that UTS 46 maps it to, non-transitional, with each label in Unicode: bücher.example and
// xn--bcher-kva.example are one domain, straße.example and strasse.example are two.
//
// A string that is not an address, or has an invalid domain, has a canonical form as well: that of Legacy.
func Canonical(address string) string {
	display := Display(address)
	if isPlain(display) {
		return strings.ToLower(display)
	}
	local, domain, found := cut(display)
	if !found {
		return Legacy(display)
	}
	canonical, err := canonicalDomain(domain)
	if err != nil {
		return Legacy(display)
	}
	return foldLocal(local) + "@" + canonical
}

// CanonicalPrefix returns the prefix of the canonical forms of all addresses that begin with prefix. A label of the
// domain in punycode must be complete: a part of one has no meaning.
func CanonicalPrefix(prefix string) string {
	display := Display(prefix)
	local, domain, found := cut(display)
	if !found {
		return foldLocal(display)
	}
	mapped, _ := lenient.ToUnicode(foldCapitalSharpS(domain)) // It returns unchanged what it cannot map.
	return foldLocal(local) + "@" + mapped
}

// FormerKeys returns the other canonical forms that an address may have in a table written by versions before this one,
// which had Legacy for all. The first is that of the address as it is spelled. Plain ASCII addresses have none.
func FormerKeys(address string) []string {
	display := Display(address)
	if isPlain(display) {
		return nil
	}
	spellings := []string{display}
	if local, domain, found := cut(display); found {
		if ascii, err := strict.ToASCII(foldCapitalSharpS(domain)); err == nil {
			spellings = append(spellings, local+"@"+ascii)
		}
		if canonical, err := canonicalDomain(domain); err == nil {
			spellings = append(spellings, local+"@"+canonical)
		}
	}
	canonical := Canonical(display)
	var keys []string
	for _, spelling := range spellings {
		if key := Legacy(spelling); key != canonical && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Legacy returns the canonical form of the versions before this one: the whole address in full case folding and normal
// form C.
func Legacy(address string) string {
	folded := strings.Map(foldCherokee, cases.Fold().String(Display(address)))
	return norm.NFC.String(folded) // Folding can leave letters and marks apart that have one code point together.
}

// Display returns the address as its owner wrote it, without surrounding white space and in Unicode normal form C.
func Display(address string) string {
	return norm.NFC.String(strings.TrimSpace(address))
}

// strict maps the domains that there can be, and lenient every text. The length of labels is checked apart.
//
//nolint:gochecknoglobals // constants, as far as the language has any of this type
var (
	strict = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
		idna.CheckHyphens(false)) // There are domains such as ab--cd.example.
	lenient = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.ValidateLabels(false),
		idna.StrictDomainName(false))
)

// canonicalDomain returns a domain with each label in Unicode, as UTS 46 maps it.
func canonicalDomain(domain string) (string, error) {
	ascii, err := strict.ToASCII(foldCapitalSharpS(domain))
	if err != nil {
		return "", err
	}
	return strict.ToUnicode(ascii)
}

// foldCapitalSharpS makes ẞ an ß, which is what UTS 46 maps it to since Unicode 15.1. The tables of Unicode 15.0, which
// x/net has for Go 1.26, make it ss: the same address would be another one with another compiler.
func foldCapitalSharpS(domain string) string { return strings.ReplaceAll(domain, "\u1e9e", "\u00df") }

// foldLocal returns the part before the @ in simple case folding and normal form C.
func foldLocal(local string) string {
	return norm.NFC.String(strings.Map(foldRune, norm.NFC.String(local)))
}

// foldRune returns the simple case folding of a character (the statuses C and S of Unicode's CaseFolding.txt).
func foldRune(char rune) rune {
	if char < utf8.RuneSelf {
		return unicode.ToLower(char)
	}
	full := []rune(cases.Fold().String(string(char)))
	switch {
	case len(full) == 1:
		return foldCherokee(full[0])
	case char == '\u0130': // İ has no simple folding: i without its dot is ı, another letter.
		return char
	default:
		return unicode.ToLower(char) // Of ẞ and some Greek capitals a small letter, of the rest itself.
	}
}

// foldCherokee makes small letters capitals, which is what Unicode folds Cherokee to. cases.Fold, as of x/text v0.43,
// makes each of them the other, so that they would never meet.
func foldCherokee(char rune) rune {
	switch {
	case 0xAB70 <= char && char <= 0xABBF:
		return char - 0xAB70 + 0x13A0
	case 0x13F8 <= char && char <= 0x13FD:
		return char - 0x13F8 + 0x13F0
	default:
		return char
	}
}

// cut splits an address at its last @: a quoted part before it may have others.
func cut(address string) (local, domain string, found bool) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address, "", false
	}
	return address[:at], address[at+1:], true
}

// isPlain reports whether case is all that can differ between two spellings of an address: it is ASCII, and no label of
// the domain is in punycode.
func isPlain(address string) bool {
	for i := range len(address) {
		if address[i] >= utf8.RuneSelf {
			return false
		}
	}
	return !strings.Contains(strings.ToLower(address), "xn--")
}
