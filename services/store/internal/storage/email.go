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
	folded := cases.Fold().String(DisplayEmail(address))
	return norm.NFC.String(folded) // Folding can leave letters and marks apart that have one code point together.
}

// DisplayEmail gives the address as its owner wrote it, without surrounding white space and in Unicode normal form C.
func DisplayEmail(address string) string {
	return norm.NFC.String(strings.TrimSpace(address))
}
