package grpcx_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

func TestHealthUnknownName(t *testing.T) {
	h := newTestEnv(t)
	_, err := healthpb.NewHealthClient(h.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "no.such"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("status is %v, want NOT_FOUND", err)
	}
	if log := h.stop(t); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("what anybody may ask is logged as a fault of ours: %s", log)
	}
}

// TestHealthWatch checks that the stream ends with NOT_SERVING, and does not keep the service from stopping.
func TestHealthWatch(t *testing.T) {
	h := newTestEnv(t)
	for name, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{
		"no.such":                  healthpb.HealthCheckResponse_SERVICE_UNKNOWN,
		"gatehouse.v1.UserService": healthpb.HealthCheckResponse_SERVING,
	} {
		stream, err := healthpb.NewHealthClient(h.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Recv(); err != nil || got.GetStatus() != want {
			t.Errorf("health of %q is %v, %v, want %v", name, got.GetStatus(), err, want)
		}
	}
	stream, err := healthpb.NewHealthClient(h.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		if got, err := stream.Recv(); err != nil || got.GetStatus() != want {
			t.Fatalf("health is %v, %v, want %v", got.GetStatus(), err, want)
		}
		h.cancel()
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
	h.stop(t)
}

func TestSharedProbe(t *testing.T) {
	errDown := errors.New("the database is down")
	t.Run("many_callers_make_one_probe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var probes atomic.Int64
			result := grpcx.SharedProbe(func(context.Context) error {
				probes.Add(1)
				time.Sleep(500 * time.Millisecond) // A slow database.
				return nil
			})
			var callers sync.WaitGroup
			for range 1000 {
				callers.Go(func() {
					if err := result(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			callers.Wait()
			if got := probes.Load(); got != 1 {
				t.Errorf("1,000 callers made %d probes", got)
			}
		})
	})
	t.Run("changes_are_seen_after_a_second", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var found error
			result := grpcx.SharedProbe(func(context.Context) error { return found })
			for _, want := range []error{nil, errDown, nil} {
				found = want
				if err := result(t.Context()); !errors.Is(err, want) {
					t.Errorf("the result is %v, want %v", err, want)
				}
				time.Sleep(time.Second)
			}
		})
	})
	t.Run("a_caller_that_leaves_does_not_end_the_probe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			result := grpcx.SharedProbe(func(ctx context.Context) error {
				select {
				case <-time.After(500 * time.Millisecond):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			leaving, leave := context.WithCancel(t.Context())
			go func() { _ = result(leaving) }()
			synctest.Wait()
			leave()
			if err := result(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a_probe_that_hangs_is_a_failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			result := grpcx.SharedProbe(func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
			if err := result(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the result is %v", err)
			}
		})
	})
}
