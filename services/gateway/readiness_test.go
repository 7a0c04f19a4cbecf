package gateway

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// countedConn counts the calls that reach an upstream.
type countedConn struct {
	grpc.ClientConnInterface

	calls atomic.Int64
}

func (c *countedConn) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	c.calls.Add(1)
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, options...)
}

// TestHealthChecks checks health without a token, over both transports.
func TestHealthChecks(t *testing.T) {
	u := newUpstream(t)
	served := u.serve(t)
	conn := &countedConn{ClientConnInterface: served}
	env := newTestEnv(t, conn, conn)
	token := "Authorization: Bearer " + u.token(t)
	env.get(t, "/v1/users/me", token).wantOK(t) // The keys are loaded by it.

	const callsInRound = 16 // more than the gateway probes in a round
	before, began := conn.calls.Load(), time.Now()
	client := healthpb.NewHealthClient(env.conn)
	for range 1000 {
		env.get(t, "/readyz").wantOK(t)
	}
	for range 250 {
		for _, name := range []string{"", "gatehouse.cache", "gatehouse.store", "gatehouse.v1.UserService"} {
			response, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
			if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Fatalf("health of %q is %v, %v", name, response.GetStatus(), err)
			}
		}
	}
	rounds := int64(time.Since(began)/(900*time.Millisecond)) + 2
	if made := conn.calls.Load() - before; made > rounds*callsInRound {
		t.Errorf("2,000 checks made %d calls in %d rounds of probes", made, rounds)
	}
	t.Run("bystander", func(t *testing.T) {
		bystander := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{
			LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)},
		}).DialContext}}
		defer bystander.CloseIdleConnections()
		env.client = bystander
		env.get(t, "/v1/users/me", token).wantOK(t)
	})
}

func TestReadinessPanic(t *testing.T) {
	env := newTestEnv(t, panicking{}, panicking{})
	if ready := env.get(t, "/readyz"); ready.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz is %d", ready.StatusCode)
	}
	if log := env.stop(t); !strings.Contains(log, "upstream does not serve") || !strings.Contains(log, "the panic's own words") {
		t.Errorf("the log does not say why: %s", log)
	}
}
