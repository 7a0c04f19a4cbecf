// Package upstream connects the gateway to the services behind it: to the cache service and, while that one cannot be
// reached, past it to the store. It forwards calls without regard to their content.
package upstream

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/breaker"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/wait"
)

// errUnresponsive cancels a call because the cache service does not answer probes.
var errUnresponsive = errors.New("the cache service does not answer probes")

// Fallback is the connection to the cache service, and past it to the store while the cache service cannot be reached
// or hangs: both serve the same contract. The feed of the store brings changes that are made meanwhile to Redis.
type Fallback struct {
	cache, store grpc.ClientConnInterface
	reads        map[string]bool // the methods that change nothing
	breaker      *breaker.Breaker
	answers      atomic.Uint64             // calls that the cache service answered
	probes       singleflight.Group        // of all calls that wait
	lastProbe    atomic.Pointer[time.Time] // the time of the last answered probe; nil for none
}

// NewFallback returns a connection whose calls go to the cache service. It writes to the log when calls start or stop
// to bypass the cache service.
func NewFallback(cache, store grpc.ClientConnInterface, log *Log) *Fallback {
	reads := grpcx.Reads()
	reads[healthpb.Health_Check_FullMethodName] = true
	return &Fallback{
		cache: cache, store: store, reads: reads,
		breaker: breaker.New(breaker.Settings{
			Failures: deadlines.CacheFailures, OpenTimeout: deadlines.CacheOpen,
			OnChange: func(open bool) {
				if open {
					log.Down("cache service down, calls go to the store")
				} else {
					log.Up("cache service up")
				}
			},
		}),
	}
}

// Invoke implements grpc.ClientConnInterface. A change whose answer was lost is not repeated unless it is idempotent:
// it may have been made. Therefore no change tests whether a cache service is back. Neither does an answered health
// check: a cache service may answer those and nothing else.
func (f *Fallback) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	repeatable := f.reads[method] || grpcx.IsIdempotent(args)
	if !repeatable && !f.breaker.IsClosed() {
		return f.store.Invoke(ctx, method, args, reply, options...)
	}
	err := f.breaker.Do(func() (breaker.Outcome, error) {
		err := f.invokeCache(ctx, repeatable, method, args, reply, options...)
		_, unanswered := errors.AsType[*noResponseError](err)
		switch {
		case unanswered:
			return breaker.Failure, err
		case grpcx.IsAnswered(err) && method != healthpb.Health_Check_FullMethodName:
			return breaker.Success, err
		default: // Also a call whose caller had no time for an answer.
			return breaker.Ignored, err
		}
	})
	lost, isLost := errors.AsType[*noResponseError](err)
	switch {
	case errors.Is(err, breaker.ErrOpen):
	case !isLost:
		return err
	case lost.sent && !repeatable:
		return lost.cause
	}
	return f.store.Invoke(ctx, method, args, reply, options...)
}

// noResponseError is the error of a call that the cache service did not answer.
type noResponseError struct {
	cause error
	sent  bool // whether the cache service may have received the call
}

func (e *noResponseError) Error() string { return e.cause.Error() }

// invokeCache returns a noResponseError if the cache service does not answer, although the caller still waits. It stops
// waiting for a repeatable call as soon as the cache service does not answer a probe. It waits for a change: it may
// have been made, and only the cache service can report that.
func (f *Fallback) invokeCache(
	ctx context.Context, repeatable bool, method string, args, reply any, options ...grpc.CallOption,
) error {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	giveUp := func() {}
	if repeatable {
		giveUp = func() { cancel(errUnresponsive) }
	}
	probes := time.AfterFunc(deadlines.CacheProbeAfter, func() { f.probeWhile(waiting, giveUp) })
	defer probes.Stop()
	var at peer.Peer // Of the connection that carried the call; empty if it was not sent.
	err := f.cache.Invoke(waiting, method, args, reply, append(options, grpc.Peer(&at))...)
	code := status.Code(err)
	switch {
	case grpcx.IsAnswered(err):
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

// probeWhile probes the cache service until ctx, that of a waiting call, is done. It calls giveUp for each probe that
// is not answered.
func (f *Fallback) probeWhile(ctx context.Context, giveUp func()) {
	for ctx.Err() == nil {
		began := time.Now()
		if !f.answersProbe(context.WithoutCancel(ctx)) { // The call may end meanwhile.
			giveUp()
		}
		wait.For(ctx, time.Until(began.Add(deadlines.CacheProbeAfter)))
	}
}

// answersProbe reports whether the cache service answers a probe, or has just answered one: however many calls wait,
// there is one probe at a time, and few in a second.
func (f *Fallback) answersProbe(ctx context.Context) bool {
	if last := f.lastProbe.Load(); last != nil && time.Since(*last) < deadlines.CacheProbe {
		return true
	}
	_, err, _ := f.probes.Do("", func() (any, error) { return nil, f.probe(ctx) })
	return err == nil
}

// probe reads the health of the cache service, which reports it without the store and without Redis. An unanswered
// probe is a failure for the breaker, unless the cache service answers other calls meanwhile. So the breaker opens
// before the calls have run out of time, and also for callers with short deadlines.
func (f *Fallback) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deadlines.CacheProbe)
	defer cancel()
	answers := f.answers.Load()
	_, err := healthpb.NewHealthClient(f.cache).Check(ctx, &healthpb.HealthCheckRequest{})
	switch {
	case err == nil:
		f.lastProbe.Store(new(time.Now()))
	case f.answers.Load() == answers:
		f.breaker.Fail()
	}
	return err
}

// storeServes reports whether the store and its database work. If they do not, a cache service without an answer within
// the time of a call may have waited for them, and is no worse than the store.
func (f *Fallback) storeServes(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, deadlines.CacheProbe)
	defer cancel()
	response, err := healthpb.NewHealthClient(f.store).Check(ctx, &healthpb.HealthCheckRequest{})
	return err == nil && response.GetStatus() == healthpb.HealthCheckResponse_SERVING
}

// NewStream implements grpc.ClientConnInterface. The public contract has no streams.
func (f *Fallback) NewStream(
	context.Context, *grpc.StreamDesc, string, ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return nil, apierr.RouteNotFound("stream not found")
}
