package cache

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

const (
	// retryInterval is how long the backend is left alone before what is owed to it is tried again. With the timeout of a
	// write, and the time that it takes to tell all that is owed, it bounds for how long other services may believe what
	// this one could not take back.
	flushInterval = 100 * time.Millisecond

	// maxPayers is how many are told at once: half of the connections, so that calls find others.
	maxFlushers = 16

	// maxOwed bounds what is owed: about 3 MB.
	maxPending = 10_000

	// lastTry bounds how long the end of the service waits for what is owed still.
	finalFlushTimeout = time.Second
)

// owed is what the backend should know and could not be told. Until it is told, nothing that is in the backend under
// the same key is believed here.
type pendingInvalidations struct {
	backend      Backend
	maxEntryLife time.Duration
	log          *slog.Logger

	mu          sync.Mutex
	writes      map[string]entry.Write // by key; of each only what may be stored at any time
	bypassUntil time.Time              // nothing of the backend is believed before; zero where nothing was forgotten
}

// newOwed makes an empty one. Distrust is for how long an entry may live at most.
func newPendingInvalidations(kept Backend, distrust time.Duration, log *slog.Logger) *pendingInvalidations {
	return &pendingInvalidations{backend: kept, maxEntryLife: distrust, log: log, writes: map[string]entry.Write{}}
}

// add remembers those of the writes that had to be stored, or, if there is no room, that nothing of the backend may be
// believed until all that is there now has expired.
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
		default:
			if p.bypassUntil.IsZero() {
				p.log.ErrorContext(ctx, "the cache backend cannot be told of changes, and there are too many to remember; "+
					"this service does not use it for now, others may answer with what was before",
					"owed", len(p.writes), "not_used_for", p.maxEntryLife)
			}
			p.bypassUntil = time.Now().Add(p.maxEntryLife)
		}
	}
}

// any tells whether something is owed under one of the keys.
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

// run pays what is owed until ctx is done, and tries once more then.
func (p *pendingInvalidations) run(ctx context.Context) {
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalFlushTimeout)
			defer cancel()
			p.flush(last)
			return
		}
	}
}

// pay stops at the first failure: the others would most likely fail as well, each after its timeout.
func (p *pendingInvalidations) flush(ctx context.Context) {
	payers, ctx := errgroup.WithContext(ctx)
	payers.SetLimit(maxFlushers)
	for _, write := range p.snapshot() {
		if ctx.Err() != nil {
			break
		}
		payers.Go(func() error {
			err := p.backend.Set(ctx, "", write)
			if err == nil {
				p.ack(write)
			}
			return err
		})
	}
	_ = payers.Wait() // What is still owed is tried again.
}

func (p *pendingInvalidations) snapshot() []entry.Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	writes := make([]entry.Write, 0, len(p.writes))
	for _, write := range p.writes {
		writes = append(writes, write)
	}
	return writes
}

func (p *pendingInvalidations) ack(write entry.Write) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if present, known := p.writes[write.Key]; known && entry.Rank(present.Entry) == entry.Rank(write.Entry) {
		delete(p.writes, write.Key)
	}
}
