package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// TestHealthChecksMakeNoCalls: anybody may ask, without a token, over both transports.
func TestHealthChecksMakeNoCalls(t *testing.T) {
	u := newUpstream(t)
	served := u.serve(t)
	conn := &countedConn{ClientConnInterface: served}
	h := newHouse(t, conn, conn)
	token := "Authorization: Bearer " + u.token(t)
	h.get(t, "/v1/users/me", token).wantOK(t) // The keys are loaded by it.

	h.service.health.readiness.round.Lock() // No round begins meanwhile.
	defer h.service.health.readiness.round.Unlock()
	before := conn.calls.Load()
	client := healthpb.NewHealthClient(h.conn)
	for range 1000 {
		h.get(t, "/readyz").wantOK(t)
	}
	for range 250 {
		for _, name := range []string{"", "gatehouse.cache", "gatehouse.store", "gatehouse.v1.UserService"} {
			response, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
			if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Fatalf("health of %q is %v, %v", name, response.GetStatus(), err)
			}
		}
	}
	if made := conn.calls.Load() - before; made != 0 {
		t.Errorf("2,000 checks made %d calls", made)
	}
	t.Run("bystander", func(t *testing.T) {
		bystander := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{
			LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)},
		}).DialContext}}
		defer bystander.CloseIdleConnections()
		h.client = bystander
		h.get(t, "/v1/users/me", token).wantOK(t)
	})
}

// healthLink is an upstream that only tells its health.
type healthLink struct {
	grpc.ClientConnInterface

	status atomic.Int32
	calls  atomic.Int64
	hangs  atomic.Bool
}

func (l *healthLink) Invoke(ctx context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	l.calls.Add(1)
	if l.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	reply.(*healthpb.HealthCheckResponse).Status = servingStatus(l.status.Load())
	return nil
}

func (l *healthLink) set(status servingStatus) { l.status.Store(int32(status)) }

func newHealthLink() (*healthLink, *readiness) {
	link := &healthLink{}
	link.set(healthpb.HealthCheckResponse_SERVING)
	return link, newReadiness(map[string]probe{"store": {link, ""}}, newUpstreamLog(slog.New(slog.DiscardHandler)))
}

func TestReadiness(t *testing.T) {
	const serving, notServing = healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING
	run := func(name string, test func(t *testing.T, link *healthLink, r *readiness)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, r := newHealthLink()
				test(t, link, r)
			})
		})
	}
	want := func(t *testing.T, r *readiness, status servingStatus) {
		t.Helper()
		if got := r.status(t.Context(), "store")["store"]; got != status {
			t.Errorf("status is %v, want %v", got, status)
		}
	}
	run("the_first_result_is_awaited", func(t *testing.T, _ *healthLink, r *readiness) {
		go r.run(t.Context())
		want(t, r, serving)
	})
	run("a_caller_without_patience_is_told_no", func(t *testing.T, _ *healthLink, r *readiness) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := r.status(ctx, "store")["store"]; got != notServing {
			t.Errorf("status is %v before anything was probed", got)
		}
	})
	run("changes_are_seen_within_a_round", func(t *testing.T, link *healthLink, r *readiness) {
		go r.run(t.Context())
		for _, status := range []servingStatus{serving, notServing, serving} {
			link.set(status)
			time.Sleep(2 * probeInterval)
			want(t, r, status)
		}
	})
	run("an_upstream_that_hangs_is_not_serving", func(t *testing.T, link *healthLink, r *readiness) {
		go r.run(t.Context())
		want(t, r, serving)
		link.hangs.Store(true)
		time.Sleep(2*probeInterval + probeTimeout)
		want(t, r, notServing)
	})
	run("a_result_that_is_too_old_is_not_serving", func(t *testing.T, _ *healthLink, r *readiness) {
		r.refresh(t.Context())
		time.Sleep(maxProbeAge)
		want(t, r, serving)
		time.Sleep(time.Millisecond)
		want(t, r, notServing)
	})
	run("the_pace_is_fixed", func(t *testing.T, link *healthLink, r *readiness) {
		go r.run(t.Context())
		time.Sleep(100 * probeInterval)
		if calls := link.calls.Load(); calls < 90 || calls > 112 {
			t.Errorf("%d probes in 100 intervals", calls)
		}
	})
	run("a_replica_that_drains_is_asked_past", func(t *testing.T, link *healthLink, r *readiness) {
		link.set(notServing)
		r.refresh(t.Context())
		if calls := link.calls.Load(); calls != probeAttempts {
			t.Errorf("%d probes of an upstream that says no, want %d", calls, probeAttempts)
		}
	})
}

func TestReadinessOfAPanickingUpstream(t *testing.T) {
	h := newHouse(t, panicking{}, panicking{})
	if ready := h.get(t, "/readyz"); ready.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz is %d", ready.StatusCode)
	}
	if log := h.stop(t); !strings.Contains(log, "upstream does not serve") || !strings.Contains(log, "the panic's own words") {
		t.Errorf("the log does not say why: %s", log)
	}
}
