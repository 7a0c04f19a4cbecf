package oauth

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s", 32)
	for name, bad := range map[string]Client{
		"no id": {"", secret}, "no secret": {"api", ""}, "short": {"api", secret[1:]}, "colon": {"a:b", secret},
		"space": {"a b", secret}, "long id": {strings.Repeat("a", 128+1), secret},
		"long secret": {"api", strings.Repeat("s", 1024+1)}, "not ASCII": {"api", secret + "ß"},
	} {
		err := bad.Validate()
		if err == nil || bad.Secret != "" && strings.Contains(err.Error(), bad.Secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, good := range []Client{{}, {"api", secret}} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
}
