package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

// MinLength is the least number of characters (Unicode code points) of a password, as it is written and in the form
// that is hashed: NIST SP 800-63B, section 5.1.1.2.
const MinLength = 8

const (
	// serviceName is a word that nobody may use as a password here.
	serviceName = "gatehouse"

	// maxPeriod is the longest part that a password must not be a mere repetition of.
	maxPeriod = 4

	// maxSuffix is how many digits after a word of the account do not make it a password.
	maxSuffix = 4
)

//go:generate make -C ../../../.. common-passwords

// commonList is the most common passwords of at least MinLength characters, folded, sorted, one a line. `make
// common-passwords` makes it. Its source and license are in common.LICENSE.
//
//go:embed common.txt.gz
var commonList []byte

// Policy decides which passwords can be chosen. It applies to new passwords only: neither to log-ins nor to hashes that
// are imported. It is safe for concurrent use.
type Policy struct {
	common []string // folded, sorted
}

// Account holds the words of the account that a password is for.
type Account struct{ Email, FullName string }

// NewPolicy returns a policy with the embedded list of common passwords.
func NewPolicy() (*Policy, error) {
	reader, err := gzip.NewReader(bytes.NewReader(commonList))
	if err != nil {
		return nil, fmt.Errorf("open the list of common passwords: %w", err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("read the list of common passwords: %w", err)
	}
	return &Policy{common: strings.Fields(string(text))}, nil
}

// Check returns why a password cannot be chosen for an account, or nil if it can. The field is named password. The
// password is compared in the form that is hashed, in any case (NIST SP 800-63B, section 5.1.1.2: commonly used,
// repetitive, sequential, and context-specific words).
func (p *Policy) Check(password string, account Account) *field.Violation {
	folded := fold(password)
	_, common := slices.BinarySearch(p.common, folded)
	switch {
	case utf8.RuneCountInString(password) < MinLength || utf8.RuneCountInString(normalize(password)) < MinLength:
		return violation("STRING_MIN_LEN", fmt.Sprintf(
			"must have at least %d characters, also in Unicode normal form KC", MinLength))
	case common || isRepetition(folded) || isSequence(folded):
		return violation("PASSWORD_TOO_COMMON", "is too common: choose another")
	case account.names(password):
		return violation("PASSWORD_OF_ACCOUNT",
			"must not be the e-mail address, the name, or the name of this service: choose another")
	default:
		return nil
	}
}

func violation(reason, description string) *field.Violation {
	return &field.Violation{Field: "password", Reason: reason, Description: description}
}

// fold returns a password in the form in which it is compared.
func fold(password string) string { return cases.Fold().String(strings.TrimSpace(normalize(password))) }

// isRepetition reports whether a text is a part of at most maxPeriod characters, again and again.
func isRepetition(text string) bool {
	runes := []rune(text)
	for period := 1; period <= maxPeriod; period++ {
		if slices.Equal(runes[min(period, len(runes)):], runes[:max(len(runes)-period, 0)]) {
			return true
		}
	}
	return false
}

// isSequence reports whether each character of a text is the one after the character before, or each the one before.
func isSequence(text string) bool {
	runes := []rune(text)
	for i := 2; i < len(runes); i++ {
		if step := runes[1] - runes[0]; step != 1 && step != -1 || runes[i]-runes[i-1] != step {
			return false
		}
	}
	return true
}

// names reports whether a password is a word of the account or of the service, perhaps with a few digits after it.
func (a Account) names(password string) bool {
	letters := lettersAndDigits(password)
	stem := strings.TrimRightFunc(letters, unicode.IsDigit)
	if utf8.RuneCountInString(letters)-utf8.RuneCountInString(stem) > maxSuffix {
		stem = letters
	}
	local, _, _ := strings.Cut(a.Email, "@")
	return slices.ContainsFunc(append(strings.Fields(a.FullName), a.Email, local, a.FullName, serviceName),
		func(word string) bool {
			word = lettersAndDigits(word)
			return word != "" && (word == letters || word == stem)
		})
}

// lettersAndDigits returns the letters and digits of a text in the form in which they are compared.
func lettersAndDigits(text string) string {
	return strings.Map(func(char rune) rune {
		if unicode.IsLetter(char) || unicode.IsDigit(char) {
			return char
		}
		return -1
	}, fold(text))
}
