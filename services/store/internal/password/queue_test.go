package password

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// turnTime is how long the work of these tests takes, in the time of a bubble.
const turnTime = 50 * time.Millisecond

// counter is a queue and what became of those who came.
type counter struct {
	*queue

	mutex  sync.Mutex
	served []int
}

// newCounter is a queue that has learnt what a turn takes.
func newCounter(cores int) *counter {
	c := &counter{queue: newQueue(cores)}
	c.learn(turnTime)
	return c
}

// come sends a call to the queue, and gives what it gets once it knows.
func (c *counter) come(ctx context.Context, name int) <-chan error {
	got := make(chan error, 1)
	go func() {
		leave, err := c.enter(ctx)
		if err == nil {
			time.Sleep(turnTime) // The work; a bubble does not wait for it.
			c.mutex.Lock()
			c.served = append(c.served, name)
			c.mutex.Unlock()
			leave()
		}
		got <- err
	}()
	synctest.Wait()
	return got
}

// unheard is a context whose end is seen by who asks, but not yet by who waits for it.
type unheard struct {
	context.Context //nolint:containedctx // it is one

	gone atomic.Bool
}

func (c *unheard) Err() error {
	if c.gone.Load() {
		return context.Canceled
	}
	return nil
}

func TestCallsHaveTheirTurnInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(1)
		var want []int
		var all []<-chan error
		for name := range 10 {
			all = append(all, c.come(t.Context(), name))
			want = append(want, name)
		}
		for _, got := range all {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(c.served, want) {
			t.Errorf("served are %v", c.served)
		}
	})
}

// TestNobodyWaitsForTooLong: the queue is as long as fits longestWait, and whoever comes then is told at once when to
// come back.
func TestNobodyWaitsForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const cores = 2
		c := newCounter(cores)
		const fit = cores + cores*int(longestWait/turnTime)
		began := time.Now()
		var all []<-chan error
		for name := range fit {
			all = append(all, c.come(t.Context(), name))
		}
		err := <-c.come(t.Context(), fit)
		wantRetry(t, err, longestWait+turnTime/cores)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it was refused after %v", waited)
		}
		if err := c.admit(t.Context()); err == nil {
			t.Error("one more is admitted")
		}
		for _, got := range all {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != longestWait+turnTime {
			t.Errorf("the last was done after %v", took)
		}
	})
}

// TestWhoseDeadlineIsNearIsRefusedAtOnce, if it is for those before it, and takes no turn.
func TestWhoseDeadlineIsNearIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(1)
		var before []<-chan error
		for name := range 3 {
			before = append(before, c.come(t.Context(), name))
		}
		within := func(after time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			t.Cleanup(cancel)
			return ctx
		}
		late, inTime := within(4*turnTime-1), within(4*turnTime+1)
		wantOverloaded(t, c.admit(late))
		began := time.Now()
		wantRetry(t, <-c.come(late, 3), time.Second)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it was refused after %v", waited)
		}
		if err := <-c.come(inTime, 4); err != nil {
			t.Errorf("there was time: %v", err)
		}
		for _, got := range before {
			<-got
		}
		// Nobody is before this one: that its deadline is too near is its own.
		leave, err := c.enter(within(turnTime / 2))
		if err != nil {
			t.Fatal(err)
		}
		leave()
		if want := []int{0, 1, 2, 4}; !slices.Equal(c.served, want) {
			t.Errorf("served are %v, not %v", c.served, want)
		}
	})
}

// TestWhoHasGoneTakesNoTurn, whether it went while it waited or in the moment when its turn came.
func TestWhoHasGoneTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(1)
		first := c.come(t.Context(), 0)
		ctx, leave := context.WithCancel(t.Context())
		second, third := c.come(ctx, 1), c.come(t.Context(), 2)
		leave()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that left got %v", err)
		}
		<-first
		<-third
		fourth := c.come(t.Context(), 4)
		inThatMoment := &unheard{Context: t.Context()}
		fifth := c.come(inThatMoment, 5)
		inThatMoment.gone.Store(true)
		<-fourth
		if err := <-fifth; !errors.Is(err, context.Canceled) {
			t.Errorf("the one whose turn came when it left got %v", err)
		}
		if want := []int{0, 2, 4}; !slices.Equal(c.served, want) {
			t.Errorf("served are %v, not %v", c.served, want)
		}
		if len(c.working) != 0 || len(c.inside) != 0 {
			t.Error("a slot is not given back")
		}
	})
}

// TestTheQueueLearnsWhatATurnTakes: where turns get slower fewer wait, and where they get faster again more do.
func TestTheQueueLearnsWhatATurnTakes(t *testing.T) {
	q := newQueue(1)
	waiting := int(longestWait / turnTime)
	for _, test := range []struct {
		took time.Duration
		want bool
	}{{turnTime, true}, {2 * turnTime, false}, {turnTime / 2, true}} {
		for range 10 * turnMemory {
			q.learn(test.took)
		}
		if got := q.wait(waiting) <= longestWait; got != test.want {
			t.Errorf("with turns of %v, %d may wait: %v", test.took, waiting, got)
		}
	}
}

// TestAFewAreNoOverload: where hashes are dear a few wait for longer than longestWait, as far as their deadlines let them.
func TestAFewAreNoOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: newQueue(1)}
		c.learn(longestWait)
		var all []<-chan error
		for name := range 1 + minQueuePerCore {
			all = append(all, c.come(t.Context(), name))
		}
		wantRetry(t, <-c.come(t.Context(), -1), longestWait*(1+minQueuePerCore))
		hop, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		wantOverloaded(t, <-c.come(hop, -1))
		for _, got := range all {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestTheQueueIsBoundedWhereTurnsAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{queue: newQueue(1)}
		var all []<-chan error
		for name := range cap(c.inside) {
			all = append(all, c.come(t.Context(), name))
		}
		wantRetry(t, <-c.come(t.Context(), -1), time.Second)
		for _, got := range all {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
	})
}

func wantRetry(t *testing.T, err error, want time.Duration) {
	t.Helper()
	wantOverloaded(t, err)
	for _, detail := range apierr.Status(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			if got := info.GetRetryDelay().AsDuration(); got != want {
				t.Errorf("to come back after %v, not %v", got, want)
			}
			return
		}
	}
	t.Error("it is not told when to come back")
}
