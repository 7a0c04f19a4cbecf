package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

const (
	// tripAfter is how many failures in a row say that the backend is down. Each may have cost a read the backend's
	// whole timeout.
	tripAfter = 5

	// minSample and maxFailing say when a backend that answers now and then is worse than none: of at least so many
	// operations in the window, this part failed.
	minSample  = 20
	maxFailing = 0.5

	window       = 10 * time.Second
	windowBucket = time.Second

	// probeInterval is how long a backend that is down is left alone before one operation tries it. It bounds both what
	// an outage costs, one slow read per interval beside the writes, and how long it takes to notice that it is over.
	probeInterval = time.Second
)

// errOpen says that the backend was not asked, because it is down.
var errOpen = errors.New("the cache backend is known to be down")

// breaker is a backend that stops asking another one while that one is down, but for what has to be stored.
type breaker struct {
	Backend

	circuit *gobreaker.CircuitBreaker[struct{}]
	log     *slog.Logger
	failure atomic.Pointer[error] // the last, for the log
}

func NewBreaker(guarded Backend, log *slog.Logger) *breaker {
	b := &breaker{Backend: guarded, log: log}
	b.circuit = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1,
		Interval:      window,
		BucketPeriod:  windowBucket,
		Timeout:       probeInterval,
		ReadyToTrip:   readyToTrip,
		OnStateChange: b.onStateChange,
	})
	return b
}

func readyToTrip(counts gobreaker.Counts) bool {
	if counts.ConsecutiveFailures >= tripAfter {
		return true
	}
	ended := counts.TotalFailures + counts.TotalSuccesses
	return ended >= minSample && float64(counts.TotalFailures) >= maxFailing*float64(ended)
}

// Get implements backend. Its error is errOpen if the guarded backend was not asked.
func (b *breaker) Get(ctx context.Context, keys ...string) (entries [][]byte, lease entry.Lease, err error) {
	err = b.execute(ctx, func(ctx context.Context) (err error) {
		entries, lease, err = b.Backend.Get(ctx, keys...)
		return err
	})
	return entries, lease, err
}

// Set implements backend. What has to be stored is tried in any case: other services may have seen already that the
// backend is back, and would go on to believe what is there. For the rest, the error is errOpen if the guarded backend
// was not asked.
func (b *breaker) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	set := func(ctx context.Context) error { return b.Backend.Set(ctx, lease, writes...) }
	err := b.execute(ctx, set)
	if errors.Is(err, errOpen) && entry.MustStore(writes) {
		return set(context.WithoutCancel(ctx))
	}
	return err
}

// Remove implements backend. Its error is errOpen if the guarded backend was not asked.
func (b *breaker) Remove(ctx context.Context, key string, entry []byte) error {
	return b.execute(ctx, func(ctx context.Context) error { return b.Backend.Remove(ctx, key, entry) })
}

// changed logs the beginning and the end of an outage, and nothing of the probes in between.
func (b *breaker) onStateChange(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed && to == gobreaker.StateOpen:
		var cause error
		if last := b.failure.Load(); last != nil {
			cause = *last
		}
		b.log.Warn("the cache backend is down; reads go to the store", "error", cause)
	case to == gobreaker.StateClosed:
		b.log.Info("the cache backend is back")
	}
}

// run gives the operation a context that the caller cannot cancel. A caller who gives up says nothing about the
// backend, so many of them must not open the circuit; and a write to the backend belongs to what the store has
// committed, whoever still waits for it.
func (b *breaker) execute(ctx context.Context, operation func(context.Context) error) error {
	_, err := b.circuit.Execute(func() (struct{}, error) {
		err := operation(context.WithoutCancel(ctx))
		if err != nil {
			b.failure.Store(&err)
		}
		return struct{}{}, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return errOpen
	}
	return err
}
