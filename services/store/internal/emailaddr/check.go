package emailaddr

import (
	"strings"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

// The bounds of an address, in bytes.
const (
	maxLocal   = 64  // RFC 5321, section 4.5.3.1.1
	maxDomain  = 253 // RFC 1035, section 2.3.4: 255 with the lengths of the labels and the root
	maxLabel   = 63  // RFC 1035, section 2.3.4
	maxAddress = 254 // RFC 5321, section 4.5.3.1.3: 256 with the brackets
)

// Check returns why no account can have an address, or nil if one can. The address has the form that the contract
// requires: its rules are not repeated here. The bounds of domain and address hold for the domain in ASCII, as the
// DNS and mail servers that know no other have it.
func Check(address string) *field.Violation {
	local, domain, _ := cut(Display(address))
	ascii, err := strict.ToASCII(foldCapitalSharpS(domain))
	labels := strings.Split(ascii, ".")
	last := labels[len(labels)-1]
	switch {
	case len(local) > maxLocal:
		return violation("EMAIL_LOCAL_PART", "must have at most 64 bytes before the @")
	case err != nil:
		return violation("EMAIL_DOMAIN", "must have a valid domain: its labels violate the rules of IDNA (UTS 46)")
	case strings.Contains("."+ascii+".", ".."):
		return violation("EMAIL_DOMAIN", "must have a domain without empty labels, and without a dot at its end")
	case strings.Trim(last, "0123456789") == "":
		return violation("EMAIL_DOMAIN", "must have a domain that does not end with a number: IP addresses are not supported")
	}
	for _, label := range labels {
		if len(label) > maxLabel {
			return violation("EMAIL_DOMAIN", "must have a domain whose labels have at most 63 bytes each, in punycode")
		}
	}
	if len(ascii) > maxDomain || len(local)+len("@")+len(ascii) > maxAddress {
		return violation("EMAIL_LENGTH", "must have at most 254 bytes, with the domain in punycode")
	}
	return nil
}

func violation(reason, description string) *field.Violation {
	return &field.Violation{Field: "email", Reason: reason, Description: description}
}
