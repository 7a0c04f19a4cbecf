package freshgroup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

// fakeSource is what calls read. Each takes a second, and reads the version at its start.
type fakeSource struct {
	mu      sync.Mutex
	version int
	calls   int
	atOnce  int
	most    int
}

func (s *fakeSource) read(ctx context.Context) (int, error) {
	s.mu.Lock()
	seen := s.version
	s.calls++
	s.atOnce++
	s.most = max(s.most, s.atOnce)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.atOnce--
	}()
	select {
	case <-time.After(time.Second):
		return seen, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// concurrencyOf returns the number of calls, their maximal concurrency, and the remaining keys.
func concurrencyOf(s *fakeSource, f *Group[int]) (calls, atOnce, keys int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.calls, s.most, len(f.next)
}

func TestDo(t *testing.T) {
	t.Parallel()
	t.Run("returns_no_result_from_before_the_call", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			const callers = 300
			s, f := new(fakeSource), New[int]()
			var wg sync.WaitGroup
			for i := range callers {
				s.mu.Lock()
				s.version = i
				s.mu.Unlock()
				wg.Go(func() {
					if seen, _, err := f.Do(t.Context(), "key", s.read); err != nil || seen < i {
						t.Errorf("the caller at %d got %d, error %v", i, seen, err)
					}
				})
				synctest.Wait() // They have joined.
				time.Sleep(time.Second / 100)
			}
			wg.Wait()
			synctest.Wait()
			if calls, atOnce, keys := concurrencyOf(s, f); atOnce != 1 || calls > callers/100+2 || keys != 0 {
				t.Errorf("%d callers made %d calls, %d at once; %d keys are left", callers, calls, atOnce, keys)
			}
		})
	})
	t.Run("keys_are_independent", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s, f := new(fakeSource), New[int]()
			for _, key := range []string{"a", "b", "c"} {
				go func() { _, _, _ = f.Do(t.Context(), key, s.read) }()
			}
			time.Sleep(2 * time.Second)
			if _, atOnce, _ := concurrencyOf(s, f); atOnce != 3 {
				t.Errorf("%d calls were under way at once, want 3", atOnce)
			}
		})
	})
	t.Run("a_cancelled_caller_stops_nothing", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s, f := new(fakeSource), New[int]()
			impatient, giveUp := context.WithTimeout(t.Context(), time.Second/2)
			defer giveUp()
			ended := make(chan error, 3)
			join := func(ctx context.Context) {
				_, _, err := f.Do(ctx, "key", s.read)
				ended <- err
			}
			go join(impatient) // flies
			synctest.Wait()
			go join(impatient) // begins the next one
			synctest.Wait()
			go join(t.Context()) // waits for that one
			for range 2 {
				if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the caller that gave up got %v", err)
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("the caller that waited got %v", err)
			}
			if calls, _, _ := concurrencyOf(s, f); calls != 2 {
				t.Errorf("there were %d calls, want 2", calls)
			}
		})
	})
	t.Run("nothing_starts_without_callers", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s, f := new(fakeSource), New[int]()
			impatient, giveUp := context.WithTimeout(t.Context(), time.Second/2)
			defer giveUp()
			go func() { _, _, _ = f.Do(t.Context(), "key", s.read) }()
			synctest.Wait()
			if _, _, err := f.Do(impatient, "key", s.read); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the caller that gave up got %v", err)
			}
			time.Sleep(5 * time.Second)
			if calls, _, keys := concurrencyOf(s, f); calls != 1 || keys != 0 {
				t.Errorf("there were %d calls, want 1; %d keys are left", calls, keys)
			}
		})
	})
	t.Run("is_bounded", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			hang := func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			begin := time.Now()
			_, own, err := New[int]().Do(t.Context(), "key", hang)
			if !own || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != deadlines.SharedRead {
				t.Errorf("it ended after %s with %v, own %t", time.Since(begin), err, own)
			}
		})
	})
	// A flight runs in a goroutine of its own, where no interceptor stands between a panic and the end of the process.
	t.Run("a_panic_is_an_error", func(t *testing.T) {
		t.Parallel()
		f := New[int]()
		for range 2 { // The key is free afterwards.
			_, _, err := f.Do(t.Context(), "key", func(context.Context) (int, error) { panic("no store") })
			if reason := apierr.ReasonOf(apierr.Status(err)); reason != gatehousev1.ErrorReason_ERROR_REASON_INTERNAL {
				t.Errorf("error %v, want an internal one", err)
			}
		}
	})
}
