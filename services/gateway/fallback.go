package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

const (
	// cachePatience is how long a call that can be made again waits before it looks whether the cache service still
	// lives, and cacheSign how long that may take to say so. One that lives is waited for: it may wait itself, and the
	// store has no time then.
	cachePatience = time.Second
	cacheSign     = 500 * time.Millisecond

	// cacheFailures in a row show that the cache service is down: the store is asked at once from then on.
	cacheFailures = 3

	// cacheRest is how long a cache service that is down is left alone before one call tries it.
	cacheRest = time.Second
)

var (
	// errUnreachable says that a call has no answer of the cache service, and that its own error tells nothing else.
	errUnreachable = errors.New("the cache service cannot be reached")

	errSilent = errors.New("the cache service gives no sign of life")
)

// fallback is the way to the cache service, and past it to the store while the cache service cannot be reached: both
// serve the same contract. Redis learns of what is changed meanwhile by the feed of the store.
type fallback struct {
	cache, store grpc.ClientConnInterface
	reads        map[string]bool // the methods that change nothing
	circuit      *gobreaker.CircuitBreaker[struct{}]
}

func newFallback(upstreams Upstreams, log *slog.Logger) *fallback {
	reads := grpcx.Reads()
	reads[healthpb.Health_Check_FullMethodName] = true
	return &fallback{
		cache: upstreams.Cache, store: upstreams.Store, reads: reads,
		circuit: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			MaxRequests:  1,
			Timeout:      cacheRest,
			ReadyToTrip:  func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= cacheFailures },
			IsSuccessful: func(err error) bool { return !errors.Is(err, errUnreachable) },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				switch {
				case from == gobreaker.StateClosed:
					log.Warn("the cache service is down; calls go to the store")
				case to == gobreaker.StateClosed:
					log.Info("the cache service is back")
				}
			},
		}),
	}
}

// Invoke implements grpc.ClientConnInterface. A change whose answer was lost is not repeated, unless it has a key: it
// may have been made. So a change is no way to find out whether a cache service is back.
func (f *fallback) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	again := f.reads[method] || grpcx.HasKey(args)
	if !again && f.circuit.State() != gobreaker.StateClosed {
		return f.store.Invoke(ctx, method, args, reply, options...)
	}
	_, err := f.circuit.Execute(func() (struct{}, error) {
		return struct{}{}, f.invokeCache(ctx, again, method, args, reply, options...)
	})
	lost, wasLost := errors.AsType[*lostError](err)
	switch {
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
	case !wasLost:
		return err
	case lost.sent && !again:
		return lost.cause
	}
	return f.store.Invoke(ctx, method, args, reply, options...)
}

// lostError is a call that the cache service did not answer.
type lostError struct {
	cause error
	sent  bool // whether the cache service may have got it
}

func (e *lostError) Error() string        { return e.cause.Error() }
func (e *lostError) Is(target error) bool { return target == errUnreachable }

// invokeCache fails with a lostError if there was no answer, and not because the caller has gone or run out of time. A
// call that can be made again is given up as soon as the cache service gives no sign of life.
func (f *fallback) invokeCache(
	ctx context.Context, again bool, method string, args, reply any, options ...grpc.CallOption,
) error {
	patient, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if again {
		look := time.AfterFunc(cachePatience, func() {
			if !f.lives(patient) {
				cancel(errSilent)
			}
		})
		defer look.Stop()
	}
	var at peer.Peer // Of the connection that the call went by; nobody, if it never went.
	err := f.cache.Invoke(patient, method, args, reply, append(options, grpc.Peer(&at))...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	st := status.Convert(err)
	silent := errors.Is(context.Cause(patient), errSilent)
	gone := st.Code() == codes.Unavailable && apierr.ReasonOf(st) == gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
	if silent || gone {
		return &lostError{cause: err, sent: at.Addr != nil}
	}
	return err
}

// lives tells whether the cache service answers at all. It does so without the store and without Redis.
func (f *fallback) lives(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, cacheSign)
	defer cancel()
	_, err := healthpb.NewHealthClient(f.cache).Check(ctx, &healthpb.HealthCheckRequest{})
	return err == nil
}

// NewStream implements grpc.ClientConnInterface. The public contract has no streams.
func (f *fallback) NewStream(
	context.Context, *grpc.StreamDesc, string, ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return nil, apierr.RouteNotFound("there is no such stream")
}
