package gateway

import (
	"fmt"
	"strings"
	"testing"
)

// TestTheGatewayServesWithoutACacheService over both transports, and says that it is ready.
func TestTheGatewayServesWithoutACacheService(t *testing.T) {
	u := newUpstream(t)
	h := newHouse(t, away(t), u.serve(t))
	token := "Authorization: Bearer " + u.token(t)
	h.get(t, "/v1/users/me", token).wantOK(t)
	h.post(t, "/v1/users", fmt.Sprintf(`{"email":"ada@example.com","fullName":"Ada","password":%q}`, secret)).wantOK(t)
	ready := h.get(t, "/readyz")
	ready.wantOK(t)
	for _, part := range []string{
		`"gatehouse.cache":"NOT_SERVING"`, `"gatehouse.cache.feed":"NOT_SERVING"`, `"gatehouse.store":"SERVING"`,
	} {
		if !strings.Contains(ready.text, part) {
			t.Errorf("readyz lacks %s: %s", part, ready.text)
		}
	}
}
