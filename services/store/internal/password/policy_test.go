package password

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func newPolicy(t testing.TB) *Policy {
	t.Helper()
	policy, err := NewPolicy()
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func TestPolicy(t *testing.T) {
	policy := newPolicy(t)
	account := Account{Email: "ada.lovelace@example.com", FullName: "Ada K\u00f6nig-Lovelace"}
	for name, test := range map[string]struct {
		passwords []string
		want      string
	}{
		"a password that can be chosen": {[]string{
			"correct horse battery staple", "wq7#Tz_k", "passwords are hard", "password1 and more", "gatehouse-19061209",
			"lovelace19061209", "abcabcabd", "abcdefgi", "пароль🔑Ж", strings.Repeat("horse", 204),
		}, ""},
		"too short": {[]string{
			"", "1234567", "wq7#Tz_", "🔑🔑🔑🔑🔑🔑🔑", "\xff\xff\xff\xff",
		}, "STRING_MIN_LEN"},
		"too short in its normal form":             {[]string{strings.Repeat("e\u0301", 7)}, "STRING_MIN_LEN"},
		"too short, though its normal form is not": {[]string{"\ufdfa"}, "STRING_MIN_LEN"},
		"a common password": {[]string{
			"12345678", "password", "iloveyou", "qwertyuiop", "1q2w3e4r", "trustno1",
		}, "PASSWORD_TOO_COMMON"},
		"a common password in another form": {[]string{
			"PASSWORD", "PassWord", "ｐａｓｓｗｏｒｄ", " password ", "\u00a0iloveyou", "①②③④⑤⑥⑦⑧",
		}, "PASSWORD_TOO_COMMON"},
		"a repetition": {[]string{
			"xxxxxxxx", "        ", "        x", "ÄÄÄÄÄÄÄÄ", "ababababa", "ABCabcABC", "wxyzwxyzwx", strings.Repeat("p", 1024),
		}, "PASSWORD_TOO_COMMON"},
		"a sequence": {[]string{"abcdefgh", "mnopqrstuvw", "ZYXWVUTS", "абвгдежз", "/0123456789:"}, "PASSWORD_TOO_COMMON"},
		"a word of the account": {[]string{
			"ada.lovelace@example.com", "ADA.LOVELACE@EXAMPLE.COM", "Ada.Lovelace", "adalovelace", "ada_lovelace_1815",
			"adakönig-lovelace", "KÖNIG-LOVELACE", "Ko\u0308nig Lovelace7",
		}, "PASSWORD_OF_ACCOUNT"},
		"the name of the service": {[]string{"gatehouse", "Gate-House", "GATEHOUSE2026", "gatehouse!"}, "PASSWORD_OF_ACCOUNT"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, password := range test.passwords {
				violation := policy.Check(password, account)
				got := ""
				if violation != nil {
					got = violation.Reason
					if len(password) > 0 && strings.Contains(violation.Description, password) {
						t.Errorf("the description of %q repeats it", password)
					}
				}
				if got != test.want {
					t.Errorf("Check(%q) = %q, want %q", password, got, test.want)
				}
			}
		})
	}
	t.Run("an_account_without_words_refuses_none_by_them", func(t *testing.T) {
		if violation := policy.Check("!?.,-_()/&", Account{}); violation != nil {
			t.Errorf("Check = %+v", violation)
		}
	})
}

func TestCommonList(t *testing.T) {
	words := newPolicy(t).common
	if len(words) < 10_000 || len(words) > 100_000 || len(commonList) > 300<<10 {
		t.Errorf("the list has %d words, %d bytes compressed", len(words), len(commonList))
	}
	if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Error("the list is not sorted, or has a word twice")
	}
	for _, word := range words {
		if word != fold(word) || utf8.RuneCountInString(word) < MinLength {
			t.Errorf("%q is not as it is compared, or too short to be needed", word)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	policy := newPolicy(f)
	f.Add("password", "ada@example.com", "Ada")
	f.Add("\xff\ufdfa", "@", "\u0301")
	f.Fuzz(func(t *testing.T, password, email, name string) {
		violation := policy.Check(password, Account{Email: email, FullName: name})
		if again := policy.Check(normalize(password), Account{Email: email, FullName: name}); violation == nil && again != nil &&
			again.Reason != "STRING_MIN_LEN" {
			t.Errorf("%q can be chosen, and %q, which is hashed the same, cannot: %+v", password, normalize(password), again)
		}
	})
}
