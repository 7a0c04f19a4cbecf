package store

import (
	"strings"
	"unicode"
)

// displayName returns the name to show: without the white space, byte order marks and line separators around it, which
// the rule of the contract admits at its ends only.
func displayName(fullName string) string {
	return strings.TrimFunc(fullName, func(char rune) bool {
		const byteOrderMark = 0xfeff
		return unicode.IsSpace(char) || unicode.Is(unicode.Z, char) || char == byteOrderMark
	})
}
