package coherence

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

const (
	// flushInterval is the time between retries. With the timeout of a write, and the time to flush all pending
	// invalidations, it bounds for how long other services may read what this one could not invalidate.
	flushInterval = 100 * time.Millisecond

	// maxFlushers bounds the concurrent writes: half of the connections, so that calls find others.
	maxFlushers = 16

	// maxPending bounds the pending invalidations: about 3 MB.
	maxPending = 10_000

	// finalFlushTimeout bounds the last flush when the service stops.
	finalFlushTimeout = time.Second
)

// pendingInvalidations are mandatory writes that have failed. Until they succeed, entries under their keys are not used
// here.
type pendingInvalidations struct {
	backend      Backend
	maxEntryLife time.Duration
	log          *slog.Logger

	mu          sync.Mutex
	writes      map[string]entry.Write // by key; what can be stored without a lease
	bypassUntil time.Time              // the backend is not read before, if some invalidations were dropped

	added chan struct{} // wakes run
}

func newPendingInvalidations(backend Backend, maxEntryLife time.Duration, log *slog.Logger) *pendingInvalidations {
	return &pendingInvalidations{
		backend: backend, maxEntryLife: maxEntryLife, log: log, writes: map[string]entry.Write{},
		added: make(chan struct{}, 1),
	}
}

// add adds the mandatory ones of the writes. If there is no room, it stops the use of the backend until all present
// entries have expired.
func (p *pendingInvalidations) add(ctx context.Context, writes []entry.Write) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, write := range writes {
		if write.Outdated == nil {
			continue
		}
		write.Entry = write.Outdated
		present, known := p.writes[write.Key]
		switch {
		case known && entry.Rank(present.Entry) >= entry.Rank(write.Entry):
		case known || len(p.writes) < maxPending:
			p.writes[write.Key] = write
			select {
			case p.added <- struct{}{}:
			default: // It is awake.
			}
		default:
			if p.bypassUntil.IsZero() {
				// Other services may return outdated entries meanwhile.
				p.log.ErrorContext(ctx, "too many pending cache invalidations, bypassing the backend",
					"owed", len(p.writes), "not_used_for", p.maxEntryLife)
			}
			p.bypassUntil = time.Now().Add(p.maxEntryLife)
		}
	}
}

// covers reports whether an invalidation of one of the keys is pending.
func (p *pendingInvalidations) covers(keys ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.bypassUntil.IsZero() && time.Now().Before(p.bypassUntil) {
		return true
	}
	p.bypassUntil = time.Time{}
	for _, key := range keys {
		if _, known := p.writes[key]; known {
			return true
		}
	}
	return false
}

// run flushes the pending invalidations until ctx is done, and then once more. It sleeps while there are none.
func (p *pendingInvalidations) run(ctx context.Context) {
	var next <-chan time.Time // nil while none is pending
	for {
		select {
		case <-p.added:
			if next == nil {
				next = time.After(flushInterval)
			}
		case <-next:
			next = nil
			p.flush(ctx)
			if p.count() > 0 {
				next = time.After(flushInterval)
			}
		case <-ctx.Done():
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalFlushTimeout)
			defer cancel()
			p.flush(final)
			return
		}
	}
}

// flush stops at the first failure: the others would most likely fail as well, each after its timeout.
func (p *pendingInvalidations) flush(ctx context.Context) {
	flushers, ctx := errgroup.WithContext(ctx)
	flushers.SetLimit(maxFlushers)
	for _, write := range p.snapshot() {
		if ctx.Err() != nil {
			break
		}
		flushers.Go(func() error {
			err := p.backend.Set(ctx, "", write)
			if err == nil {
				p.ack(write)
			}
			return err
		})
	}
	_ = flushers.Wait() // What failed remains pending.
}

func (p *pendingInvalidations) snapshot() []entry.Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.writes))
}

// ack removes a write that has succeeded, unless a higher one has replaced it.
func (p *pendingInvalidations) ack(write entry.Write) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if present, known := p.writes[write.Key]; known && entry.Rank(present.Entry) == entry.Rank(write.Entry) {
		delete(p.writes, write.Key)
	}
}

func (p *pendingInvalidations) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.writes)
}
