package upstream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

const (
	aRead   = gatehousev1.UserService_ReadUser_FullMethodName
	aChange = gatehousev1.UserService_UpdateUser_FullMethodName
	aSignUp = gatehousev1.UserService_CreateUser_FullMethodName
)

// requests are idempotent requests by their methods.
var requests = map[string]any{aSignUp: &gatehousev1.CreateUserRequest{RequestId: "1"}}

// link is a connection to a service: it counts the calls, and answers as it is told.
type link struct {
	answer func(ctx context.Context, method string) error
	calls  atomic.Int64
	health atomic.Int64
}

// errUnsent is a call that finds no connection.
var errUnsent = status.Error(codes.Unavailable, "connection error: nobody listens")

// ownTimeout is how long a connection lets a call take whose caller has set no deadline.
const ownTimeout = 10 * time.Second

func (l *link) Invoke(ctx context.Context, method string, _, reply any, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, ownTimeout)
	defer cancel()
	if health, ok := reply.(*healthpb.HealthCheckResponse); ok {
		l.health.Add(1)
		health.Status = healthpb.HealthCheckResponse_SERVING
	} else {
		l.calls.Add(1)
	}
	err := l.answer(ctx, method)
	for _, option := range options {
		if at, ok := option.(grpc.PeerCallOption); ok && !errors.Is(err, errUnsent) {
			*at.PeerAddr = peer.Peer{Addr: &address{}}
		}
	}
	return err
}

type address struct{}

func (*address) Network() string { return "test" }
func (*address) String() string  { return "test" }

func (l *link) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("there are no streams")
}

func fine(context.Context, string) error { return nil }

// always returns a link that fails every call with an error, and serves health checks.
func always(err error) func(context.Context, string) error {
	return func(_ context.Context, method string) error {
		if method == healthpb.Health_Check_FullMethodName {
			return nil
		}
		return err
	}
}

// frozen never returns an answer.
func frozen(ctx context.Context, _ string) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// slow returns after some seconds, and serves health checks at once.
func slow(ctx context.Context, method string) error {
	if method == healthpb.Health_Check_FullMethodName {
		return nil
	}
	select {
	case <-time.After(5 * time.Second):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func newLinks(t *testing.T, answer func(context.Context, string) error) (f *Fallback, cache, store *link) {
	t.Helper()
	t.Cleanup(func() { time.Sleep(deadlines.CacheProbe) }) // In the bubble: probes under way end.
	cache, store = &link{answer: answer}, &link{answer: fine}
	return NewFallback(cache, store, NewLog(slog.New(slog.DiscardHandler))), cache, store
}

func TestFallbackUnanswered(t *testing.T) {
	unavailable := apierr.Status(apierr.Unavailable(nil)).Err()
	refused := apierr.Status(apierr.VersionMismatch()).Err()
	died := status.Error(codes.Unavailable, "error reading from server: EOF")
	for name, test := range map[string]struct {
		answer  func(context.Context, string) error
		method  string
		atStore int64
		code    codes.Code
	}{
		"a read, answered":                   {fine, aRead, 0, codes.OK},
		"a change, answered":                 {fine, aChange, 0, codes.OK},
		"a read that never went":             {always(errUnsent), aRead, 1, codes.OK},
		"a change that never went":           {always(errUnsent), aChange, 1, codes.OK},
		"a read whose answer was lost":       {always(died), aRead, 1, codes.OK},
		"a change whose answer was lost":     {always(died), aChange, 0, codes.Unavailable},
		"a refusal":                          {always(refused), aChange, 0, codes.Aborted},
		"the store is down, by the cache":    {always(unavailable), aRead, 0, codes.Unavailable},
		"a read of one that is frozen":       {frozen, aRead, 1, codes.OK},
		"a change of one that is frozen":     {frozen, aChange, 0, codes.DeadlineExceeded},
		"a read that waits for the database": {slow, aRead, 0, codes.OK},
		"a sign-up whose answer was lost":    {always(died), aSignUp, 1, codes.OK},
		"a sign-up of one that is frozen":    {frozen, aSignUp, 1, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, store := newLinks(t, test.answer)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := f.Invoke(ctx, test.method, requests[test.method], nil)
				if status.Code(err) != test.code || store.calls.Load() != test.atStore {
					t.Errorf("error is %v, and the store was asked %d times", err, store.calls.Load())
				}
			})
		})
	}
}

// TestFallbackBreaker checks that an open breaker passes one read a second, which detects that the cache service is
// back.
func TestFallbackBreaker(t *testing.T) {
	for name, answer := range map[string]func(context.Context, string) error{"away": always(errUnsent), "frozen": frozen} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, cache, store := newLinks(t, answer)
				call := func(method string) {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					if err := f.Invoke(ctx, method, nil, nil); err != nil {
						t.Error(err)
					}
				}
				for range deadlines.CacheFailures {
					call(aRead)
				}
				before := cache.calls.Load()
				for range 100 {
					call(aRead)
					call(aChange)
				}
				if asked := cache.calls.Load() - before; asked != 0 {
					t.Errorf("the cache service was asked %d times", asked)
				}
				time.Sleep(deadlines.CacheOpen + time.Millisecond)
				for range 10 {
					call(aChange)
				}
				call(aRead)
				call(aRead)
				if asked := cache.calls.Load() - before; asked != 1 {
					t.Errorf("the cache service was asked %d times after a rest", asked)
				}
				cache.answer = fine
				time.Sleep(deadlines.CacheOpen + time.Millisecond)
				call(aRead)
				asked, past := cache.calls.Load(), store.calls.Load()
				call(aRead)
				call(aChange)
				if cache.calls.Load() != asked+2 || store.calls.Load() != past {
					t.Error("a cache service that is back is not asked")
				}
			})
		})
	}
}

// TestFallbackCancelled.
func TestFallbackCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, cache, store := newLinks(t, frozen)
		for range 2 * deadlines.CacheFailures {
			ctx, cancel := context.WithTimeout(t.Context(), deadlines.CacheProbeAfter/2)
			if err := f.Invoke(ctx, aRead, nil, nil); status.Code(err) != codes.DeadlineExceeded {
				t.Error(err)
			}
			cancel()
		}
		cache.answer = fine
		if err := f.Invoke(t.Context(), aRead, nil, nil); err != nil || store.calls.Load() != 0 {
			t.Errorf("error is %v, and the store was asked %d times", err, store.calls.Load())
		}
	})
}

// stuck serves health checks, and returns no other answer.
func stuck(ctx context.Context, method string) error {
	if method == healthpb.Health_Check_FullMethodName {
		return nil
	}
	return frozen(ctx, method)
}

// TestFallback checks that a cache service that hangs costs a few changes, whatever its health says.
func TestFallback(t *testing.T) {
	for name, test := range map[string]struct {
		answer  func(context.Context, string) error
		timeout time.Duration // of the callers; 0 for none
	}{
		"frozen, and callers wait":                        {frozen, 0},
		"frozen, and callers have less time than we have": {frozen, 2 * time.Second},
		"frozen, and callers have less time than a probe": {frozen, deadlines.CacheProbeAfter + deadlines.CacheProbe/2},
		"its health is all that it answers":               {stuck, 0},
	} {
		t.Run("changes_go_to_the_store/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, store := newLinks(t, test.answer)
				change := func() error {
					ctx, cancel := context.WithCancel(t.Context())
					if test.timeout > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), test.timeout)
					}
					defer cancel()
					return f.Invoke(ctx, aChange, nil, nil)
				}
				failed := 0
				for change() != nil {
					if failed++; failed > deadlines.CacheFailures+1 { // The last probe may end when the next change has begun.
						t.Fatalf("%d changes have failed", failed)
					}
				}
				for range 41 {
					if err := change(); err != nil {
						t.Fatalf("after %d changes that failed: %v", failed, err)
					}
				}
				if store.calls.Load() != 42 {
					t.Errorf("the store was asked %d times", store.calls.Load())
				}
				// The bystander's read is served at once, or by the one call in a second that tries the cache service.
				if err := f.Invoke(t.Context(), aRead, nil, nil); err != nil {
					t.Errorf("a read: %v", err)
				}
			})
		})
	}

	t.Run("a_change_that_has_not_ended_opens_the_breaker", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, _, store := newLinks(t, frozen)
			ended := make(chan error, 1)
			go func() { ended <- f.Invoke(t.Context(), aChange, nil, nil) }()
			time.Sleep(ownTimeout / 2)
			if err := f.Invoke(t.Context(), aChange, nil, nil); err != nil || store.calls.Load() != 1 {
				t.Errorf("the next change: %v", err)
			}
			if err := <-ended; status.Code(err) != codes.DeadlineExceeded || store.calls.Load() != 1 {
				t.Errorf("the change that was sent: %v; the store was asked %d times", err, store.calls.Load())
			}
		})
	})

	for name, test := range map[string]struct {
		cache, store func(context.Context, string) error
		timeout      time.Duration
	}{
		"while the store hangs":          {stuck, frozen, 0},
		"when callers have less time":    {stuck, fine, ownTimeout / 2},
		"when callers leave before":      {frozen, fine, deadlines.CacheProbeAfter / 2},
		"when it waits for the database": {slow, fine, 0},
	} {
		t.Run("breaker_stays_closed/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, store := newLinks(t, test.cache)
				store.answer = test.store
				for range 2 * deadlines.CacheFailures {
					ctx, cancel := context.WithCancel(t.Context())
					if test.timeout > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), test.timeout)
					}
					_ = f.Invoke(ctx, aChange, nil, nil)
					cancel()
				}
				if closed := f.breaker.IsClosed(); !closed || store.calls.Load() != 0 {
					t.Errorf("the breaker is closed: %v; the store got %d calls", closed, store.calls.Load())
				}
			})
		})
	}

	t.Run("a_read_that_is_given_up_early_does_not_close_the_breaker", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, _, _ := newLinks(t, frozen)
			for range deadlines.CacheFailures {
				_ = f.Invoke(t.Context(), aRead, nil, nil)
			}
			time.Sleep(deadlines.CacheOpen + 1) // of the bubble's clock
			ctx, cancel := context.WithTimeout(t.Context(), deadlines.CacheProbeAfter/2)
			defer cancel()
			_ = f.Invoke(ctx, aRead, nil, nil)
			if f.breaker.IsClosed() {
				t.Error("the breaker is closed")
			}
		})
	})

	// withReadiness lets health be checked once a second meanwhile.
	withReadiness := func(t *testing.T, f *Fallback, test func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var readiness sync.WaitGroup
		readiness.Go(func() {
			for ctx.Err() == nil {
				if _, err := healthpb.NewHealthClient(f).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
			}
		})
		test()
		synctest.Wait()
		cancel()
		readiness.Wait()
	}
	t.Run("health_checks_that_are_answered_are_no_answers_of_calls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, _, store := newLinks(t, stuck)
			withReadiness(t, f, func() {
				for range deadlines.CacheFailures {
					_ = f.Invoke(t.Context(), aChange, nil, nil)
				}
				past := store.calls.Load()
				for range 5 {
					time.Sleep(deadlines.CacheOpen)
					if err := f.Invoke(t.Context(), aChange, nil, nil); err != nil {
						t.Error(err)
					}
				}
				if got := store.calls.Load() - past; got != 5 {
					t.Errorf("the store was asked %d times", got)
				}
			})
		})
	})
	t.Run("health_checks_that_are_not_answered_open_the_breaker_for_callers_without_the_time_to", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const calls = 2000
			f, _, _ := newLinks(t, frozen)
			withReadiness(t, f, func() {
				failed := 0
				for range calls {
					ctx, cancel := context.WithTimeout(t.Context(), deadlines.CacheProbe/2)
					if f.Invoke(ctx, aRead, nil, nil) != nil {
						failed++
					}
					cancel()
					time.Sleep(10 * time.Millisecond)
				}
				if failed > calls/2 {
					t.Errorf("of %d reads %d have failed", calls, failed)
				}
			})
		})
	})

	t.Run("calls_that_wait_share_their_probes", func(t *testing.T) {
		for name, answer := range map[string]func(context.Context, string) error{"slow": slow, "frozen": frozen} {
			synctest.Test(t, func(t *testing.T) {
				f, cache, _ := newLinks(t, answer)
				var calls sync.WaitGroup
				for range 200 {
					calls.Go(func() { _ = f.Invoke(t.Context(), aChange, nil, nil) })
					time.Sleep(time.Millisecond)
				}
				began := time.Now()
				calls.Wait()
				most := int64(time.Since(began)/deadlines.CacheProbe) + 1
				if probes := cache.health.Load(); probes == 0 || probes > most {
					t.Errorf("%s: %d probes, want at most %d", name, probes, most)
				}
			})
		}
	})

	t.Run("the_circuit_stays_closed/while_others_are_answered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, _, store := newLinks(t, func(ctx context.Context, method string) error {
				if method == aRead {
					return nil
				}
				return frozen(ctx, method)
			})
			ended := make(chan error, 1)
			go func() { ended <- f.Invoke(t.Context(), aChange, nil, nil) }()
			for range 100 {
				if err := f.Invoke(t.Context(), aRead, nil, nil); err != nil {
					t.Error(err)
				}
				time.Sleep(ownTimeout / 100)
			}
			<-ended
			if closed := f.breaker.IsClosed(); !closed || store.calls.Load() != 0 {
				t.Errorf("the breaker is closed: %v; the store got %d calls", closed, store.calls.Load())
			}
		})
	})
}
