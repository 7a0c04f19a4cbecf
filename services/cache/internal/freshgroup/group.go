// Package freshgroup provides singleflight that never joins a call which has started: its result may be older than a
// change that the caller has seen acknowledged.
package freshgroup

import (
	"context"
	"sync"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// Group shares one result among concurrent callers with the same key. A caller never receives the result of a call that
// started before it came: that result may be older than a change that the caller knows of. So for each key one call is
// running, and one is waiting, for all callers since the running one started.
type Group[T any] struct {
	mu   sync.Mutex
	next map[string]*call[T] // a key is there while a call is running; its value is the waiting call or nil
}

type call[T any] struct {
	start   func() (T, error)
	waiting int
	done    chan struct{} // closed when result and err are final
	result  T
	err     error
}

// New returns an empty Group.
func New[T any]() *Group[T] { return &Group[T]{next: map[string]*call[T]{}} }

// Do returns the result of a call of fn that starts after Do was called. Own reports whether it is the caller's own fn:
// a call has the context values of its first caller. The call is bounded by deadlines.SharedRead and continues when
// its callers give up. A caller whose ctx is done returns with the error of ctx.
func (g *Group[T]) Do(
	ctx context.Context, key string, fn func(context.Context) (T, error),
) (result T, own bool, err error) {
	joined, own := g.join(ctx, key, fn)
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
	ctx context.Context, key string, fn func(context.Context) (T, error),
) (joined *call[T], own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	joined, running := g.next[key]
	if joined == nil {
		own = true
		joined = &call[T]{done: make(chan struct{}), start: func() (T, error) { return detached(ctx, fn) }}
		if running {
			g.next[key] = joined
		} else {
			g.next[key] = nil
			go g.run(key, joined)
		}
	}
	joined.waiting++
	return joined, own
}

// run runs one call after the other for as long as there are callers.
func (g *Group[T]) run(key string, running *call[T]) {
	for running != nil {
		running.result, running.err = running.start()
		close(running.done)
		running = g.following(key)
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

// detached calls fn with a context that the first caller cannot cancel. It recovers panics, which would end the process
// in this goroutine.
func detached[T any](ctx context.Context, fn func(context.Context) (T, error)) (result T, err error) {
	defer grpcx.Recover(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadlines.SharedRead)
	defer cancel()
	return fn(ctx)
}
