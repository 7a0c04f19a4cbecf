package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"
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
	// cacheProbeAfter is how long a call waits for the cache service before that one is probed, and the time from one
	// probe to the next while the call waits. A cache service that answers probes is waited for: it may wait itself, and
	// the store has no time then.
	cacheProbeAfter = time.Second

	// cacheProbeTimeout bounds a probe.
	cacheProbeTimeout = 500 * time.Millisecond

	// cacheFailures in a row open the circuit: calls go to the store at once.
	cacheFailures = 3

	// cacheOpenTimeout is how long a cache service is left alone before one call tries it.
	cacheOpenTimeout = time.Second
)

var (
	// errNoResponse matches the error of a call that the cache service did not answer.
	errNoResponse = errors.New("the cache service did not answer")

	// errNotCounted is neither a success nor a failure for the circuit.
	errNotCounted = errors.New("the cache service has answered a health check")

	errUnresponsive = errors.New("the cache service does not answer probes")
)

// fallback is the connection to the cache service, and past it to the store while the cache service cannot be reached
// or hangs: both serve the same contract. Redis learns of what is changed meanwhile by the feed of the store.
type fallback struct {
	cache, store grpc.ClientConnInterface
	reads        map[string]bool // the methods that change nothing
	circuit      *gobreaker.CircuitBreaker[struct{}]
	answers      atomic.Uint64             // calls that the cache service answered
	probes       singleflight.Group        // of all calls that wait
	alive        atomic.Pointer[time.Time] // when a probe was answered last; nil for never
}

func newFallback(upstreams Upstreams, log *upstreamLog) *fallback {
	reads := grpcx.Reads()
	reads[healthpb.Health_Check_FullMethodName] = true
	return &fallback{
		cache: upstreams.Cache, store: upstreams.Store, reads: reads,
		circuit: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			MaxRequests:  1,
			Timeout:      cacheOpenTimeout,
			ReadyToTrip:  func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= cacheFailures },
			IsSuccessful: answered,
			// A call whose caller had no time for an answer is neither a success nor a failure.
			IsExcluded: func(err error) bool { return !answered(err) && !errors.Is(err, errNoResponse) },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				switch {
				case from == gobreaker.StateClosed:
					log.down("the cache service is down; calls go to the store")
				case to == gobreaker.StateClosed:
					log.up("the cache service is back")
				}
			},
		}),
	}
}

// Invoke implements grpc.ClientConnInterface. A change whose answer was lost is not repeated, unless it has a key: it
// may have been made. So a change is no way to find out whether a cache service is back. Nor is a health check that is
// answered: a cache service may answer these and nothing else.
func (f *fallback) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	repeatable := f.reads[method] || grpcx.IsIdempotent(args)
	if !repeatable && f.circuit.State() != gobreaker.StateClosed {
		return f.store.Invoke(ctx, method, args, reply, options...)
	}
	var answer error // of a health check
	_, err := f.circuit.Execute(func() (struct{}, error) {
		err := f.invokeCache(ctx, repeatable, method, args, reply, options...)
		if method == healthpb.Health_Check_FullMethodName && answered(err) {
			answer, err = err, errNotCounted
		}
		return struct{}{}, err
	})
	if errors.Is(err, errNotCounted) {
		return answer
	}
	lost, wasLost := errors.AsType[*noResponseError](err)
	switch {
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
	case !wasLost:
		return err
	case lost.sent && !repeatable:
		return lost.cause
	}
	return f.store.Invoke(ctx, method, args, reply, options...)
}

// noResponseError is the error of a call that the cache service did not answer.
type noResponseError struct {
	cause error
	sent  bool // whether the cache service may have got it
}

func (e *noResponseError) Error() string        { return e.cause.Error() }
func (e *noResponseError) Is(target error) bool { return target == errNoResponse }

// invokeCache returns a noResponseError if there was no answer, and not because the caller has gone or run out of time.
// A call that can be repeated is given up as soon as the cache service does not answer a probe. A change is waited for:
// it may have been made, and only the cache service can say so.
func (f *fallback) invokeCache(
	ctx context.Context, repeatable bool, method string, args, reply any, options ...grpc.CallOption,
) error {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	giveUp := func() {}
	if repeatable {
		giveUp = func() { cancel(errUnresponsive) }
	}
	probes := time.AfterFunc(cacheProbeAfter, func() { f.probeWhile(waiting, giveUp) })
	defer probes.Stop()
	var at peer.Peer // Of the connection that the call went by; nobody, if it never went.
	err := f.cache.Invoke(waiting, method, args, reply, append(options, grpc.Peer(&at))...)
	code := status.Code(err)
	switch {
	case answered(err):
		f.answers.Add(1)
		return err
	case ctx.Err() != nil:
		return err
	case errors.Is(context.Cause(waiting), errUnresponsive), code == codes.Unavailable,
		code == codes.DeadlineExceeded && f.storeServes(ctx):
		return &noResponseError{cause: err, sent: at.Addr != nil}
	default:
		return err
	}
}

// answered reports whether the cache service has answered a call: its errors have a reason.
func answered(err error) bool {
	return err == nil || apierr.ReasonOf(status.Convert(err)) != gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// probeWhile probes the cache service until ctx, that of a call which waits for it, is done. It calls giveUp where a
// probe is not answered.
func (f *fallback) probeWhile(ctx context.Context, giveUp func()) {
	for ctx.Err() == nil {
		began := time.Now()
		if !f.answersProbe(context.WithoutCancel(ctx)) { // The call may end meanwhile.
			giveUp()
		}
		pause := time.NewTimer(time.Until(began.Add(cacheProbeAfter)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// answersProbe reports whether the cache service answers at all, or did just now: however many calls wait, there is one
// probe at a time, and few in a second.
func (f *fallback) answersProbe(ctx context.Context) bool {
	if last := f.alive.Load(); last != nil && time.Since(*last) < cacheProbeTimeout {
		return true
	}
	_, err, _ := f.probes.Do("", func() (any, error) { return nil, f.probe(ctx) })
	return err == nil
}

// probe reads the health of the cache service, which knows it without the store and without Redis. A probe that is not
// answered is a failure of the circuit, so that a cache service which hangs is known before the calls have run out of
// time, and also where the callers have less time than we allow; but not while it answers other calls.
func (f *fallback) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cacheProbeTimeout)
	defer cancel()
	answers := f.answers.Load()
	_, err := healthpb.NewHealthClient(f.cache).Check(ctx, &healthpb.HealthCheckRequest{})
	switch {
	case err == nil:
		f.alive.Store(new(time.Now()))
	case f.answers.Load() == answers:
		_, _ = f.circuit.Execute(func() (struct{}, error) { return struct{}{}, errNoResponse })
	}
	return err
}

// storeServes reports whether the store and its database work. Where they do not, a cache service that has no answer
// within the time of a call may have waited for them, and is no worse than the store.
func (f *fallback) storeServes(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, cacheProbeTimeout)
	defer cancel()
	response, err := healthpb.NewHealthClient(f.store).Check(ctx, &healthpb.HealthCheckRequest{})
	return err == nil && response.GetStatus() == healthpb.HealthCheckResponse_SERVING
}

// NewStream implements grpc.ClientConnInterface. The public contract has no streams.
func (f *fallback) NewStream(
	context.Context, *grpc.StreamDesc, string, ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return nil, apierr.RouteNotFound("stream not found")
}
