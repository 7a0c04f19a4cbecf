package storage

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// CanonicalEmail gives the form in which addresses are compared: without surrounding white space, in full case folding
// and normal form C. Addresses with one canonical form are one address; it is at most three times as long, in bytes, as
// the address. Accents count, and so does what Unicode calls compatibility: full-width letters are other letters.
//
// The whole address is folded, the part before the @ too. RFC 5321 would let a mail server tell Ada@ from ada@; none
// that matters does, and people write their address now this way and now that way.
func CanonicalEmail(address string) string {
	folded := strings.Map(foldCherokee, cases.Fold().String(DisplayEmail(address)))
	return norm.NFC.String(folded) // Folding can leave letters and marks apart that have one code point together.
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

// DisplayEmail gives the address as its owner wrote it, without surrounding white space and in Unicode normal form C.
func DisplayEmail(address string) string {
	return norm.NFC.String(strings.TrimSpace(address))
}
