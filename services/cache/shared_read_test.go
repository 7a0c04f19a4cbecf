package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

func TestSharedRead(t *testing.T) {
	t.Parallel()
	// Without a cache, an outdated answer is prevented only because no caller joins a read that has started.
	t.Run("does_not_join_a_read_from_before_a_log_out", func(t *testing.T) {
		t.Parallel()
		asked := new(atomic.Int64)
		env := startTestEnv(t, 2, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
			return cache.NewFailing(config(""), store, log, asked)
		})
		for _, r := range env.replicas {
			r.wantFollowing(t)
		}
		token := env.store.token(env.store.put("ada@example.com"))
		seen, answer := env.store.block("ReadSession")
		read := func(ended chan<- error) {
			_, err := env.me(t.Context(), token)
			ended <- err
		}
		before, after := make(chan error, 1), make(chan error, 1)
		go read(before)
		<-seen
		if err := env.replicas[1].logOut(t.Context(), token, authn.Current); err != nil {
			t.Fatal(err)
		}
		settled := asked.Load()
		go read(after)
		testkit.Eventually(t, func() error { return atLeast("questions", asked, settled+1) })
		close(answer)
		if err := <-before; err != nil {
			t.Errorf("who came before the log-out got %v", err)
		}
		wantError(t, <-after, codes.Unauthenticated, sessionEnded)
	})
	t.Run("concurrent_misses_read_the_store_once", func(t *testing.T) {
		t.Parallel()
		const callers = 100
		env, gets := newCountingEnv(t)
		token := env.store.token(env.store.put("ada@example.com"))
		missed := make(chan struct{})
		env.store.hook(func(ctx context.Context, _, _ string) error { return waitFor(ctx, missed) }, nil)
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				if _, err := env.me(t.Context(), token); err != nil {
					t.Errorf("read: %v", err)
				}
			})
		}
		// All have missed, and the one that began the first flight has looked once more.
		testkit.Eventually(t, func() error { return atLeast("looks into the cache", gets, callers+1) })
		close(missed)
		wg.Wait()
		env.wantReads(t, 1) // The second flight has found what the first brought.
	})
	t.Run("a_cancelled_caller_does_not_fail_the_others", func(t *testing.T) {
		t.Parallel()
		env, f := readConcurrently(t, func(bool) error { return nil })
		f.giveUp()
		if err := <-f.first; status.Code(err) != codes.Canceled {
			t.Errorf("the cancelled caller got %v", err)
		}
		testkit.Eventually(t, func() error {
			if !strings.Contains(env.logged.String(), "Canceled") {
				return errors.New("the cache has not noticed")
			}
			return nil
		})
		close(f.answer)
		for range cap(f.others) {
			if err := <-f.others; err != nil {
				t.Errorf("another caller got %v", err)
			}
		}
		env.wantReads(t, 1)
	})
	// The store takes neither the token of the first flight nor that of the second, which the others share.
	t.Run("a_rejected_token_does_not_fail_the_others", func(t *testing.T) {
		t.Parallel()
		_, f := readConcurrently(t, func(refused bool) error {
			if refused {
				return apierr.AccessTokenInvalid(nil)
			}
			return nil
		})
		close(f.answer)
		wantError(t, <-f.first, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
		refused := 0
		for range cap(f.others) {
			if err := <-f.others; err != nil {
				refused++
				wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
			}
		}
		if refused != 1 {
			t.Errorf("%d of the others were refused, want the one whose token it was", refused)
		}
	})
	// A session that has ended has ended for every token of it.
	t.Run("the_end_of_a_session_is_read_once", func(t *testing.T) {
		t.Parallel()
		env, f := readConcurrently(t, func(bool) error { return nil })
		env.store.mu.Lock()
		for _, session := range env.store.sessions {
			session.ended = true
		}
		env.store.mu.Unlock()
		close(f.answer)
		wantError(t, <-f.first, codes.Unauthenticated, sessionEnded)
		for range cap(f.others) {
			wantError(t, <-f.others, codes.Unauthenticated, sessionEnded)
		}
		env.wantReads(t, 1) // The others have found the tombstone.
	})
}

func atLeast(what string, counted *atomic.Int64, want int64) error {
	if got := counted.Load(); got < want {
		return fmt.Errorf("%d %s, want %d", got, what, want)
	}
	return nil
}

// sharedRead is a read of the store by one caller, while others wait for the next one.
type sharedRead struct {
	giveUp context.CancelFunc // cancels the first caller
	first  chan error         // how the first caller's read ended
	others chan error         // how the others' ended
	answer chan struct{}      // closed when the store may answer
}

// readConcurrently starts a read and five others that wait, with a token each. OnRead returns the answer of the store
// for one of the first two tokens, or another.
func readConcurrently(t *testing.T, onRead func(first bool) error) (*testEnv, *sharedRead) {
	t.Helper()
	const others = 5
	env, gets := newCountingEnv(t)
	first := env.store.token(env.store.put("ada@example.com"))
	f := &sharedRead{first: make(chan error, 1), others: make(chan error, others), answer: make(chan struct{})}
	arrived := make(chan struct{})
	var once sync.Once
	var second atomic.Pointer[string]
	env.store.hook(func(ctx context.Context, _, token string) error {
		once.Do(func() { close(arrived) })
		if err := waitFor(ctx, f.answer); err != nil {
			return err
		}
		if token == "Bearer "+first {
			return onRead(true)
		}
		second.CompareAndSwap(nil, &token)
		return onRead(token == *second.Load())
	}, nil)
	read := func(ctx context.Context, token string, ended chan<- error) {
		_, err := env.me(ctx, token)
		ended <- err
	}
	var ctx context.Context
	ctx, f.giveUp = context.WithCancel(t.Context())
	t.Cleanup(f.giveUp)
	go read(ctx, first, f.first)
	<-arrived
	for range others {
		go read(t.Context(), env.store.anotherToken(first), f.others)
	}
	testkit.Eventually(t, func() error { return atLeast("looks into the cache", gets, 2+others) })
	return env, f
}
