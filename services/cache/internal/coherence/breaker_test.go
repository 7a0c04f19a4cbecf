package coherence

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/breaker"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// failingBackend fails every operation while it is dead, and counts them.
type failingBackend struct {
	dead       bool
	operations int
}

func (d *failingBackend) Get(_ context.Context, keys ...string) ([][]byte, entry.Lease, error) {
	return make([][]byte, len(keys)), "", d.answer()
}
func (d *failingBackend) Lease() entry.Lease                                     { return "" }
func (d *failingBackend) Set(context.Context, entry.Lease, ...entry.Write) error { return d.answer() }

func (d *failingBackend) Remove(context.Context, string, []byte) error { return d.answer() }
func (d *failingBackend) EnterEpoch(string)                            {}
func (d *failingBackend) Flush(context.Context) error                  { return d.answer() }
func (d *failingBackend) Close() error                                 { return nil }

func (d *failingBackend) answer() error {
	d.operations++
	if d.dead {
		return errors.New("it is dead")
	}
	return nil
}

type heedsContext struct{ Backend }

func (heedsContext) Set(ctx context.Context, _ entry.Lease, _ ...entry.Write) error { return ctx.Err() }

func TestBreaker(t *testing.T) {
	t.Parallel()
	t.Run("skips_a_dead_backend", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var logged strings.Builder
			failing := &failingBackend{dead: true}
			b := NewBreaker(failing, slog.New(slog.NewTextHandler(&logged, nil)))
			for range 100 {
				if _, _, err := b.Get(t.Context(), "key"); err == nil {
					t.Fatal("no error")
				}
			}
			if failing.operations != deadlines.RedisFailures {
				t.Errorf("a dead backend was asked %d times, want %d", failing.operations, deadlines.RedisFailures)
			}
			if err := b.Set(t.Context(), "lease", entry.Write{}); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("set: %v, want %v", err, breaker.ErrOpen)
			}
			if err := b.Remove(t.Context(), "key", nil); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("remove: %v, want %v", err, breaker.ErrOpen)
			}

			for range 10 { // Probes that fail.
				time.Sleep(deadlines.RedisOpen + time.Millisecond)
				_, _, _ = b.Get(t.Context(), "key")
				_, _, _ = b.Get(t.Context(), "key")
			}
			if failing.operations != deadlines.RedisFailures+10 {
				t.Errorf("a dead backend was asked %d times, want %d", failing.operations, deadlines.RedisFailures+10)
			}

			failing.dead = false
			time.Sleep(deadlines.RedisOpen + time.Millisecond)
			if _, _, err := b.Get(t.Context(), "key"); err != nil {
				t.Errorf("get from a backend that is back: %v", err)
			}
			lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
			if len(lines) != 2 || !strings.Contains(lines[0], "it is dead") || !strings.Contains(lines[1], "is back") {
				t.Errorf("logged %q", lines)
			}
		})
	})
	// That this service has not noticed yet that the backend is back does not mean that others have not.
	t.Run("tries_mandatory_writes", func(t *testing.T) {
		t.Parallel()
		failing := &failingBackend{dead: true}
		b := NewBreaker(failing, slog.New(slog.DiscardHandler))
		for range 2 * deadlines.RedisFailures {
			_, _, _ = b.Get(t.Context(), "key")
		}
		failing.dead = false
		if err := b.Set(t.Context(), "", entry.Write{}, entry.Write{Outdated: []byte{}}); err != nil {
			t.Errorf("what has to be stored was not: %v", err)
		}
		if failing.operations != deadlines.RedisFailures+1 {
			t.Errorf("the backend was asked %d times, want %d", failing.operations, deadlines.RedisFailures+1)
		}
	})
	t.Run("opens_when_half_of_the_operations_fail", func(t *testing.T) {
		t.Parallel()
		failing := new(failingBackend)
		b := NewBreaker(failing, slog.New(slog.DiscardHandler))
		for i := range 100 {
			failing.dead = i%2 == 1
			_, _, _ = b.Get(t.Context(), "key")
		}
		if failing.operations != minCalls {
			t.Errorf("a backend of which half fails was asked %d times, want %d", failing.operations, minCalls)
		}
	})
	// A caller that gives up must neither stop what belongs to a committed write nor count against the backend.
	t.Run("ignores_the_cancellation_of_the_caller", func(t *testing.T) {
		t.Parallel()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		b := NewBreaker(heedsContext{}, slog.New(slog.DiscardHandler))
		for range 2 * deadlines.RedisFailures {
			if err := b.Set(gone, "", entry.Write{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
