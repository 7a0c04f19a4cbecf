package gateway

import (
	"fmt"
	"strings"
	"testing"
)

// TestServingWithoutCache checks that without a cache service the gateway serves REST, and is ready.
func TestServingWithoutCache(t *testing.T) {
	u := newUpstream(t)
	env := newTestEnv(t, unreachable(t), u.serve(t))
	token := "Authorization: Bearer " + u.token(t)
	env.get(t, "/v1/users/me", token).wantOK(t)
	env.post(t, "/v1/users", fmt.Sprintf(`{"email":"ada@example.com","fullName":"Ada","password":%q}`, secret)).wantOK(t)
	ready := env.get(t, "/readyz")
	ready.wantOK(t)
	for _, part := range []string{
		`"gatehouse.cache":"NOT_SERVING"`, `"gatehouse.cache.feed":"NOT_SERVING"`, `"gatehouse.store":"SERVING"`,
	} {
		if !strings.Contains(ready.text, part) {
			t.Errorf("readyz lacks %s: %s", part, ready.text)
		}
	}
}
