package cache

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// flightTimeout bounds a read of the store that several callers wait for, none of whom can cancel it.
const callTimeout = 5 * time.Second

// flights lets callers who want the same at the same time share one answer. Nobody gets one that was asked for before
// they came: it could be from before a change that they know of. So of each key one flight is under way, and one is
// boarding, for all who came since that one began.
type Group[T any] struct {
	mu   sync.Mutex
	next map[string]*call[T] // by key; a key that is there has a flight under way. Nil if nobody waits for another
}

type call[T any] struct {
	start   func() (T, error)
	waiting int
	done    chan struct{} // closed when what follows is final
	result  T
	err     error
}

func NewGroup[T any]() *Group[T] { return &Group[T]{next: map[string]*call[T]{}} }

// join gives the answer of a flight that begins now or later, and tells whether it is the caller's own: one that asks
// as this caller asks. A flight has the values of its first caller's context. A caller whose ctx is done goes without.
func (g *Group[T]) Do(
	ctx context.Context, key string, ask func(context.Context) (T, error),
) (result T, own bool, err error) {
	joined, own := g.join(ctx, key, ask)
	select {
	case <-joined.done:
		return joined.result, own, joined.err
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		joined.waiting--
		return result, own, ctx.Err()
	}
}

func (g *Group[T]) join(
	ctx context.Context, key string, ask func(context.Context) (T, error),
) (joined *call[T], own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	joined, underWay := g.next[key]
	if joined == nil {
		own = true
		joined = &call[T]{done: make(chan struct{}), start: func() (T, error) { return detach(ctx, ask) }}
		if underWay {
			g.next[key] = joined
		} else {
			g.next[key] = nil
			go g.run(key, joined)
		}
	}
	joined.waiting++
	return joined, own
}

// run lets one flight follow the other for as long as somebody waits.
func (g *Group[T]) run(key string, underWay *call[T]) {
	for underWay != nil {
		underWay.result, underWay.err = underWay.start()
		close(underWay.done)
		underWay = g.following(key)
	}
}

func (g *Group[T]) following(key string) *call[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	following := g.next[key]
	if following == nil || following.waiting == 0 {
		delete(g.next, key)
		return nil
	}
	g.next[key] = nil
	return following
}

// fly goes on when the caller who began it gives up. It runs in a goroutine of its own, where a panic would end the
// process.
func detach[T any](ctx context.Context, ask func(context.Context) (T, error)) (result T, err error) {
	defer grpcx.Recover(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return ask(ctx)
}
