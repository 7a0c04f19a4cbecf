package emailaddr

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	label := strings.Repeat("a", 63)
	domain := label + "." + label + "." + label
	for name, test := range map[string]struct{ address, want string }{
		"plain":                     {"ada@example.com", ""},
		"one label":                 {"ada@localhost", ""},
		"hyphens":                   {"ada@ab--cd.example", ""},
		"digits":                    {"ada@163.com", ""},
		"white space around":        {" ada@example.com\u00a0", ""},
		"U-label":                   {"ada@bücher.example", ""},
		"A-label":                   {"ada@xn--bcher-kva.example", ""},
		"Hebrew":                    {"ada@דוגמה.example", ""},
		"local part of 64 bytes":    {strings.Repeat("a", 64) + "@example.com", ""},
		"label of 63 bytes":         {"ada@" + label + ".com", ""},
		"254 bytes":                 {strings.Repeat("a", 62) + "@" + domain, ""},
		"local part of 65 bytes":    {strings.Repeat("a", 65) + "@example.com", "EMAIL_LOCAL_PART"},
		"local part of 33 ü":        {strings.Repeat("ü", 33) + "@example.com", "EMAIL_LOCAL_PART"},
		"label of 64 bytes":         {"ada@" + label + "a.com", "EMAIL_DOMAIN"},
		"U-label too long in ASCII": {"ada@" + strings.Repeat("ü", 60) + ".com", "EMAIL_DOMAIN"},
		"255 bytes":                 {strings.Repeat("a", 63) + "@" + domain, "EMAIL_LENGTH"},
		"domain of 254 bytes":       {"a@" + domain + "." + strings.Repeat("a", 62), "EMAIL_LENGTH"},
		"trailing dot":              {"ada@example.com.", "EMAIL_DOMAIN"},
		"leading dot":               {"ada@.example.com", "EMAIL_DOMAIN"},
		"empty label":               {"ada@example..com", "EMAIL_DOMAIN"},
		"no domain":                 {"ada@", "EMAIL_DOMAIN"},
		"underscore":                {"ada@a_b.example", "EMAIL_DOMAIN"},
		"IP literal":                {"ada@[192.0.2.1]", "EMAIL_DOMAIN"},
		"IPv6 literal":              {"ada@[IPv6:2001:db8::1]", "EMAIL_DOMAIN"},
		"IP address":                {"ada@192.0.2.1", "EMAIL_DOMAIN"},
		"mixed directions":          {"ada@אa.example", "EMAIL_DOMAIN"},
		"no punycode":               {"ada@xn--zzzzzz.example", "EMAIL_DOMAIN"},
		"punycode of ASCII":         {"ada@xn--abc-.example", "EMAIL_DOMAIN"},
		"combining mark first":      {"ada@\u0308a.example", "EMAIL_DOMAIN"},
		"joiner out of place":       {"ada@a\u200db.example", "EMAIL_DOMAIN"},
		"symbol":                    {"ada@a/b.example", "EMAIL_DOMAIN"},
	} {
		t.Run(name, func(t *testing.T) {
			violation := Check(test.address)
			got := ""
			if violation != nil {
				got = violation.Reason
			}
			if got != test.want {
				t.Errorf("Check(%+q) = %+v, want %q", test.address, violation, test.want)
			}
		})
	}
}

func TestCanonicalPrefix(t *testing.T) {
	for prefix, want := range map[string]string{
		"":                         "",
		"AD":                       "ad",
		"Stra\u1e9e":               "straß",
		"Ada@":                     "ada@",
		"Ada@Exa":                  "ada@exa",
		"ada@BÜCH":                 "ada@büch",
		"ada@xn--bcher-kva":        "ada@bücher",
		"ada@xn--bcher-kva.exam":   "ada@bücher.exam",
		"ada@straß":                "ada@straß",
		"ada@xn--zzzzzz":           "ada@xn--zzzzzz",
		"ada@-":                    "ada@-",
		"cafe\u0301@caf\u00c9.exa": "café@café.exa",
	} {
		if got := CanonicalPrefix(prefix); got != want {
			t.Errorf("CanonicalPrefix(%+q) = %+q, want %+q", prefix, got, want)
		}
	}
}

func TestFormerKeys(t *testing.T) {
	for address, want := range map[string]string{
		"Ada@Example.com":              "",
		"ada@bücher.example":           "ada@xn--bcher-kva.example",
		"Ada@XN--bcher-kva.example":    "ada@xn--bcher-kva.example",
		"ada@straße.example":           "ada@strasse.example ada@xn--strae-oqa.example",
		"ada@xn--strae-oqa.example":    "ada@xn--strae-oqa.example ada@strasse.example",
		"Grüße@example.com":            "grüsse@example.com",
		"grüsse@example.com":           "",
		"ada@\uff45xample.com":         "ada@\uff45xample.com",
		"no address, but characters ß": "",
	} {
		if got := strings.Join(FormerKeys(address), " "); got != want {
			t.Errorf("FormerKeys(%+q) = %+q, want %+q", address, got, want)
		}
	}
}
