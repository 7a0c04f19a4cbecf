package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestFloodRetryInfo checks both transports, while others are served: so the benchmark still works
// when it is needed.
func TestFloodRetryInfo(t *testing.T) {
	env := newTestEnv(t, 2)
	var outcomes outcomes
	ctx, ebb := context.WithCancel(t.Context())
	ended := make(chan struct{})
	conn := env.dial(t)
	go func() {
		defer close(ended)
		closedLoop(ctx, env, conn, 200*runtime.NumCPU(), &outcomes)
	}()
	body := fmt.Sprintf(`{"email":%q,"password":%q}`, env.accounts[0].logIn.GetEmail(), env.accounts[0].logIn.GetPassword())
	testkit.Eventually(t, func() error {
		if outcomes.served.Load() == 0 || outcomes.refused.Load() == 0 {
			return errors.New("not all is served, or nothing is refused")
		}
		response, err := http.Post("http://"+env.rest+"/v1/sessions", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") == "" {
			return fmt.Errorf("REST answers %s, to come back after %q", response.Status, response.Header.Get("Retry-After"))
		}
		return nil
	})
	ebb()
	<-ended
	outcomes.check(t)
}
