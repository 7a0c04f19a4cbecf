package coherence

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/breaker"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// A backend that fails this part of at least so many operations in the window is worse than none.
const (
	window       = 10 * time.Second
	minCalls     = 20
	failureRatio = 0.5
)

// guardedBackend is a Backend behind a circuit breaker. While that is open, only mandatory writes reach the backend.
type guardedBackend struct {
	Backend

	circuit *breaker.Breaker
	failure atomic.Pointer[error] // the last, for the log
}

// NewBreaker returns the backend behind a circuit breaker. Its operations return breaker.ErrOpen if they were not
// tried.
func NewBreaker(guarded Backend, log *slog.Logger) Backend {
	g := &guardedBackend{Backend: guarded}
	g.circuit = breaker.New(breaker.Settings{
		Failures: deadlines.RedisFailures, OpenTimeout: deadlines.RedisOpen,
		Window: window, MinCalls: minCalls, FailureRatio: failureRatio,
		OnChange: func(open bool) {
			if !open {
				log.Info("cache backend is back")
				return
			}
			var cause error
			if last := g.failure.Load(); last != nil {
				cause = *last
			}
			log.Warn("cache backend is down, reading from the store", "error", cause)
		},
	})
	return g
}

// Get implements Backend.
func (g *guardedBackend) Get(ctx context.Context, keys ...string) (entries [][]byte, lease entry.Lease, err error) {
	err = g.do(ctx, func(ctx context.Context) (err error) {
		entries, lease, err = g.Backend.Get(ctx, keys...)
		return err
	})
	return entries, lease, err
}

// Set implements Backend. Mandatory writes are always tried: other services may have noticed already that the backend
// is back, and would read outdated entries.
func (g *guardedBackend) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	set := func(ctx context.Context) error { return g.Backend.Set(ctx, lease, writes...) }
	err := g.do(ctx, set)
	if errors.Is(err, breaker.ErrOpen) && entry.MustStore(writes) {
		return set(context.WithoutCancel(ctx))
	}
	return err
}

// Remove implements Backend.
func (g *guardedBackend) Remove(ctx context.Context, key string, entry []byte) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Backend.Remove(ctx, key, entry) })
}

// do calls the operation with a context that the caller cannot cancel. Callers that give up say nothing about the
// backend, and must not open the breaker; and a write belongs to what the store has committed, even if nobody waits for
// it.
func (g *guardedBackend) do(ctx context.Context, operation func(context.Context) error) error {
	return g.circuit.Do(func() (breaker.Outcome, error) {
		err := operation(context.WithoutCancel(ctx))
		if err != nil {
			g.failure.Store(&err)
			return breaker.Failure, err
		}
		return breaker.Success, nil
	})
}
