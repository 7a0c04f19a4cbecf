package password

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// workTime is how long a call of these tests holds its slot, in the time of a bubble.
const workTime = 50 * time.Millisecond

// testQueue is a queue that records which calls it served.
type testQueue struct {
	*queue

	mutex  sync.Mutex
	served []string
}

// newTestQueue returns a queue that has observed workTime.
func newTestQueue(slots int) *testQueue {
	q := &testQueue{queue: newQueue(slots, unlimited)}
	q.observe(workTime)
	return q
}

// clientAt returns the key of the n-th client; clientAt(0) is the one whose address is unknown.
func clientAt(n int) shares.Key {
	if n == 0 {
		return shares.Key{}
	}
	return shares.KeyOf(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}))
}

// send sends a call of a client to the queue, and returns a channel with its outcome.
func (q *testQueue) send(ctx context.Context, client int, name string) <-chan error {
	return q.sendBytes(ctx, client, name, 0)
}

func (q *testQueue) sendBytes(ctx context.Context, client int, name string, bytes int64) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		leave, err := q.acquire(ctx, clientAt(client), bytes)
		if err == nil {
			q.mutex.Lock()
			q.served = append(q.served, name)
			q.mutex.Unlock()
			time.Sleep(workTime) // In a bubble this takes no time.
			leave()
		}
		outcome <- err
	}()
	synctest.Wait()
	return outcome
}

// sendMany sends n calls of a client, all of one name.
func (q *testQueue) sendMany(ctx context.Context, n, client int, name string) []<-chan error {
	outcomes := make([]<-chan error, 0, n)
	for range n {
		outcomes = append(outcomes, q.send(ctx, client, name))
	}
	return outcomes
}

// drain waits until no call is in the queue.
func (q *testQueue) drain() {
	for synctest.Wait(); q.length() > 0; synctest.Wait() {
		time.Sleep(workTime)
	}
}

// length returns how many calls are in the queue, running ones included.
func (q *testQueue) length() int {
	q.queue.mutex.Lock()
	defer q.queue.mutex.Unlock()
	return q.running + len(q.waiting)
}

// servedSoFar returns the names of the calls that were served.
func (q *testQueue) servedSoFar() []string {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return slices.Clone(q.served)
}

func (q *testQueue) wantServed(t *testing.T, want ...string) {
	t.Helper()
	if served := q.servedSoFar(); !slices.Equal(served, want) {
		t.Errorf("served are %v, want %v", served, want)
	}
}

func wantAllServed(t *testing.T, outcomes []<-chan error) {
	t.Helper()
	for _, outcome := range outcomes {
		if err := <-outcome; err != nil {
			t.Error(err)
		}
	}
}

// lateCancel is a context whose end is seen by Err, but not yet by who waits for Done.
type lateCancel struct {
	context.Context //nolint:containedctx // it is one

	gone atomic.Bool
}

func (c *lateCancel) Err() error {
	if c.gone.Load() {
		return context.Canceled
	}
	return nil
}

func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
