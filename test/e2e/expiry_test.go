package e2e

import (
	"fmt"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestSessionExpiry checks that a session that has expired cannot be refreshed.
func TestSessionExpiry(t *testing.T) {
	t.Parallel()
	for name, start := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := start(t, append(cheapHashes, "--session-idle-lifetime", "1s", "--session-lifetime", "1s")...)
			user := signUp(t, env, (&fixtures{}).address("ada"))
			session := openSession(t, env, user.GetEmail())
			if session.GetExpiresIn() > 1 {
				t.Errorf("the access token is good for %d s, longer than its session", session.GetExpiresIn())
			}
			for transport, call := range transports {
				testkit.Eventually(t, func() error {
					got, err := call(callContext(t), env, "SessionService/RefreshSession",
						&gatehousev1.RefreshSessionRequest{RefreshToken: session.GetRefreshToken()}, nil)
					if err != nil {
						return err
					}
					if reason, _ := details(t, got); reason != "SESSION_EXPIRED" {
						return fmt.Errorf("%s: %v", transport, got.status)
					}
					return nil
				})
			}
		})
	}
}
