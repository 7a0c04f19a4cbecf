package cache

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// flightTimeout bounds a read of the store that several callers wait for, none of whom can cancel it.
const flightTimeout = 5 * time.Second

// flights lets callers who want the same at the same time share one answer. Nobody gets one that was asked for before
// they came: it could be from before a change that they know of. So of each key one flight is under way, and one is
// boarding, for all who came since that one began.
type flights[T any] struct {
	mu   sync.Mutex
	next map[string]*flight[T] // by key; a key that is there has a flight under way. Nil if nobody waits for another
}

type flight[T any] struct {
	depart  func() (T, error)
	waiting int
	landed  chan struct{} // closed when what follows is final
	result  T
	err     error
}

func newFlights[T any]() *flights[T] { return &flights[T]{next: map[string]*flight[T]{}} }

// join gives the answer of a flight that begins now or later, and tells whether it is the caller's own: one that asks
// as this caller asks. A flight has the values of its first caller's context. A caller whose ctx is done goes without.
func (f *flights[T]) join(
	ctx context.Context, key string, ask func(context.Context) (T, error),
) (result T, own bool, err error) {
	joined, own := f.board(ctx, key, ask)
	select {
	case <-joined.landed:
		return joined.result, own, joined.err
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		joined.waiting--
		return result, own, ctx.Err()
	}
}

func (f *flights[T]) board(
	ctx context.Context, key string, ask func(context.Context) (T, error),
) (joined *flight[T], own bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	joined, underWay := f.next[key]
	if joined == nil {
		own = true
		joined = &flight[T]{landed: make(chan struct{}), depart: func() (T, error) { return fly(ctx, ask) }}
		if underWay {
			f.next[key] = joined
		} else {
			f.next[key] = nil
			go f.run(key, joined)
		}
	}
	joined.waiting++
	return joined, own
}

// run lets one flight follow the other for as long as somebody waits.
func (f *flights[T]) run(key string, underWay *flight[T]) {
	for underWay != nil {
		underWay.result, underWay.err = underWay.depart()
		close(underWay.landed)
		underWay = f.following(key)
	}
}

func (f *flights[T]) following(key string) *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	following := f.next[key]
	if following == nil || following.waiting == 0 {
		delete(f.next, key)
		return nil
	}
	f.next[key] = nil
	return following
}

// fly goes on when the caller who began it gives up. It runs in a goroutine of its own, where a panic would end the
// process.
func fly[T any](ctx context.Context, ask func(context.Context) (T, error)) (result T, err error) {
	defer grpcx.Recover(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
	defer cancel()
	return ask(ctx)
}
