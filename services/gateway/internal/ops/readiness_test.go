package ops

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/upstream"
)

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

func newHealthLink() (*healthLink, *Readiness) {
	link := &healthLink{}
	link.set(healthpb.HealthCheckResponse_SERVING)
	return link, newReadiness(map[string]probe{"store": {link, ""}}, upstream.NewLog(slog.New(slog.DiscardHandler)))
}

func TestReadiness(t *testing.T) {
	const serving, notServing = healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING
	run := func(name string, test func(t *testing.T, link *healthLink, r *Readiness)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, r := newHealthLink()
				test(t, link, r)
			})
		})
	}
	want := func(t *testing.T, r *Readiness, status servingStatus) {
		t.Helper()
		if got := r.status(t.Context(), "store")["store"]; got != status {
			t.Errorf("status is %v, want %v", got, status)
		}
	}
	run("status_waits_for_the_first_result", func(t *testing.T, _ *healthLink, r *Readiness) {
		go r.Run(t.Context())
		want(t, r, serving)
	})
	run("a_caller_with_a_deadline_reads_not_serving", func(t *testing.T, _ *healthLink, r *Readiness) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := r.status(ctx, "store")["store"]; got != notServing {
			t.Errorf("status is %v before anything was probed", got)
		}
	})
	run("changes_are_seen_within_a_round", func(t *testing.T, link *healthLink, r *Readiness) {
		go r.Run(t.Context())
		for _, status := range []servingStatus{serving, notServing, serving} {
			link.set(status)
			time.Sleep(2 * deadlines.HealthInterval)
			want(t, r, status)
		}
	})
	run("an_upstream_that_hangs_is_not_serving", func(t *testing.T, link *healthLink, r *Readiness) {
		go r.Run(t.Context())
		want(t, r, serving)
		link.hangs.Store(true)
		time.Sleep(2*deadlines.HealthInterval + deadlines.HealthProbe)
		want(t, r, notServing)
	})
	run("a_result_that_is_too_old_is_not_serving", func(t *testing.T, _ *healthLink, r *Readiness) {
		r.Refresh(t.Context())
		time.Sleep(maxProbeAge)
		want(t, r, serving)
		time.Sleep(time.Millisecond)
		want(t, r, notServing)
	})
	run("the_pace_is_fixed", func(t *testing.T, link *healthLink, r *Readiness) {
		go r.Run(t.Context())
		time.Sleep(100 * deadlines.HealthInterval)
		if calls := link.calls.Load(); calls < 90 || calls > 112 {
			t.Errorf("%d probes in 100 intervals", calls)
		}
	})
	run("a_draining_replica_is_probed_again", func(t *testing.T, link *healthLink, r *Readiness) {
		link.set(notServing)
		r.Refresh(t.Context())
		if calls := link.calls.Load(); calls != deadlines.HealthAttempts {
			t.Errorf("%d probes of an upstream that does not serve, want %d", calls, deadlines.HealthAttempts)
		}
	})
}
