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
	retryInterval = 100 * time.Millisecond

	// maxPayers is how many are told at once: half of the connections, so that calls find others.
	maxPayers = 16

	// maxOwed bounds what is owed: about 3 MB.
	maxOwed = 10_000

	// lastTry bounds how long the end of the service waits for what is owed still.
	lastTry = time.Second
)

// owed is what the backend should know and could not be told. Until it is told, nothing that is in the backend under
// the same key is believed here.
type owed struct {
	backend  backend
	distrust time.Duration
	log      *slog.Logger

	mu     sync.Mutex
	writes map[string]entry.Write // by key; of each only what may be stored at any time
	until  time.Time              // nothing of the backend is believed before; zero where nothing was forgotten
}

// newOwed makes an empty one. Distrust is for how long an entry may live at most.
func newOwed(kept backend, distrust time.Duration, log *slog.Logger) *owed {
	return &owed{backend: kept, distrust: distrust, log: log, writes: map[string]entry.Write{}}
}

// add remembers those of the writes that had to be stored, or, if there is no room, that nothing of the backend may be
// believed until all that is there now has expired.
func (o *owed) add(ctx context.Context, writes []entry.Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, write := range writes {
		if write.Outdated == nil {
			continue
		}
		write.Entry = write.Outdated
		present, known := o.writes[write.Key]
		switch {
		case known && entry.Rank(present.Entry) >= entry.Rank(write.Entry):
		case known || len(o.writes) < maxOwed:
			o.writes[write.Key] = write
		default:
			if o.until.IsZero() {
				o.log.ErrorContext(ctx, "the cache backend cannot be told of changes, and there are too many to remember; "+
					"this service does not use it for now, others may answer with what was before",
					"owed", len(o.writes), "not_used_for", o.distrust)
			}
			o.until = time.Now().Add(o.distrust)
		}
	}
}

// any tells whether something is owed under one of the keys.
func (o *owed) any(keys ...string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.until.IsZero() && time.Now().Before(o.until) {
		return true
	}
	o.until = time.Time{}
	for _, key := range keys {
		if _, known := o.writes[key]; known {
			return true
		}
	}
	return false
}

// run pays what is owed until ctx is done, and tries once more then.
func (o *owed) run(ctx context.Context) {
	ticker := time.NewTicker(retryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			o.pay(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTry)
			defer cancel()
			o.pay(last)
			return
		}
	}
}

// pay stops at the first failure: the others would most likely fail as well, each after its timeout.
func (o *owed) pay(ctx context.Context) {
	payers, ctx := errgroup.WithContext(ctx)
	payers.SetLimit(maxPayers)
	for _, write := range o.all() {
		if ctx.Err() != nil {
			break
		}
		payers.Go(func() error {
			err := o.backend.Set(ctx, "", write)
			if err == nil {
				o.paid(write)
			}
			return err
		})
	}
	_ = payers.Wait() // What is still owed is tried again.
}

func (o *owed) all() []entry.Write {
	o.mu.Lock()
	defer o.mu.Unlock()
	writes := make([]entry.Write, 0, len(o.writes))
	for _, write := range o.writes {
		writes = append(writes, write)
	}
	return writes
}

func (o *owed) paid(write entry.Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if present, known := o.writes[write.Key]; known && entry.Rank(present.Entry) == entry.Rank(write.Entry) {
		delete(o.writes, write.Key)
	}
}
