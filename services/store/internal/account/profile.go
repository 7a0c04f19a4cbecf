package account

import (
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // There are zones on every machine.
	"unicode"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

// DisplayName returns the name to show: without the white space, byte order marks and line separators around it, which
// the rule of the contract admits at its ends only.
func DisplayName(fullName string) string {
	return strings.TrimFunc(fullName, func(char rune) bool {
		const byteOrderMark = 0xfeff
		return unicode.IsSpace(char) || unicode.Is(unicode.Z, char) || char == byteOrderMark
	})
}

// CheckTimeZone returns a violation unless the name is one of the IANA database, or "". It rejects the names that only
// this machine has: its own zone, and the copies of the database that count leap seconds in other ways.
func CheckTimeZone(name string) *field.Violation {
	_, err := time.LoadLocation(name)
	local := slices.Contains([]string{"Local", "localtime", "posixrules", "Factory"}, name) ||
		name != "" && path.Clean(name) != name || // Europe//London is the path of a file, and no name.
		strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/")
	if err != nil || local {
		return &field.Violation{
			Reason: "TIME_ZONE", Description: "must be a time zone of the IANA database such as Europe/London",
		}
	}
	return nil
}
