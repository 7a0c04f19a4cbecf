package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// TestIssuerCheck covers what would otherwise be found by the first user who logs
// in: 200 then, and 401 for each call after it.
func TestIssuerCheck(t *testing.T) {
	t.Parallel()
	good := func() authn.IssuerSettings {
		return authn.IssuerSettings{Issuer: issuer, Audience: audience, Now: time.Now(), Lifetime: 15 * time.Minute}
	}
	for name, test := range map[string]struct {
		change func(*authn.IssuerSettings)
		want   string
	}{
		"issuer":         {func(s *authn.IssuerSettings) { s.Issuer = "https://other.example.com" }, "https://other.example.com"},
		"audience":       {func(s *authn.IssuerSettings) { s.Audience = "other" }, "at the store other"},
		"database_clock": {func(s *authn.IssuerSettings) { s.Now = s.Now.Add(-20 * time.Minute) }, "clock: here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			wrong := good()
			test.change(&wrong)
			u.settings.Store(&wrong)
			conn := u.serve(t)
			env := newTestEnv(t, conn, conn)
			if err := env.service.keys.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			ready := env.get(t, "/readyz")
			if ready.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.text, test.want) {
				t.Errorf("readyz is %d: %s", ready.StatusCode, ready.text)
			}
			response, err := healthpb.NewHealthClient(env.conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("health is %v, %v", response.GetStatus(), err)
			}
			// A call with a token that is valid here is served nevertheless.
			env.get(t, "/v1/users/me", "Authorization: Bearer "+u.token(t)).wantOK(t)

			right := good()
			u.settings.Store(&right)
			if err := env.service.keys.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			env.get(t, "/readyz").wantOK(t)
			if log := env.stop(t); !strings.Contains(log, "settings disagree with the store") {
				t.Errorf("the log has %s", log)
			}
		})
	}
}
