package password

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	// longestWait is how long the last in the queue waits, as far as the last turns tell. A person at a log-in form
	// still bears it.
	longestWait = 2 * time.Second

	// minQueuePerCore and maxQueuePerCore bound the length of the queue whatever the time says. Where hashes are dear, a
	// few people who log in together are no overload, and their deadlines bound what they wait; where hashes are cheap,
	// every call in the queue still holds a request.
	minQueuePerCore, maxQueuePerCore = 32, 100

	// turnMemory is how many turns the estimate remembers, more or less: it follows a machine that gets busy within a
	// second, and one odd turn does not upset it.
	turnMemory = 8
)

// queue gives calls their turn at the cores, in the order in which they come. It is safe for concurrent use.
type queue struct {
	working chan struct{} // one slot per core
	inside  chan struct{} // one slot per call that has its turn or waits for it
	turn    atomic.Int64  // how long a turn takes: a moving mean, in nanoseconds; 0 before the first has ended
}

func newQueue(cores int) *queue {
	return &queue{
		working: make(chan struct{}, cores),
		inside:  make(chan struct{}, cores*(1+maxQueuePerCore)),
	}
}

// enter waits for the turn of a call; leave ends it. It fails as admit does, and with the error of ctx if that ends
// before the turn comes: nobody would hear the answer.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	if err := q.admit(ctx); err != nil {
		return nil, err
	}
	select {
	case q.inside <- struct{}{}:
	default:
		return nil, comeBack(q.wait(cap(q.inside)))
	}
	select {
	case q.working <- struct{}{}:
	case <-ctx.Done():
		<-q.inside
		return nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil { // A turn may come together with the end; either may have been taken.
		<-q.working
		<-q.inside
		return nil, err
	}
	began := time.Now()
	return func() {
		q.learn(time.Since(began))
		<-q.working
		<-q.inside
	}, nil
}

// admit tells whether a call that comes now is let in. It fails with OVERLOADED if the call would wait for longer than
// longestWait and more than a few are before it, or if those before it keep it from being done before the deadline of
// ctx, and with the error of ctx if that has ended.
func (q *queue) admit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ahead := len(q.inside)
	wait := q.wait(ahead)
	if wait == 0 {
		return nil // It is nobody else's fault if the deadline is too near.
	}
	tooMany := wait > longestWait && ahead >= cap(q.working)*(1+minQueuePerCore)
	deadline, hasDeadline := ctx.Deadline()
	tooLate := hasDeadline && time.Until(deadline) < wait+time.Duration(q.turn.Load())
	if tooMany || tooLate {
		return comeBack(wait)
	}
	return nil
}

// wait is how long a call waits for its turn that has so many before it, as far as the last turns tell.
func (q *queue) wait(ahead int) time.Duration {
	cores := cap(q.working)
	turnsBefore := max(0, ahead-cores+1)
	return time.Duration(q.turn.Load()) * time.Duration(turnsBefore) / time.Duration(cores)
}

// learn takes note of how long a turn took. Of two that end at the same time one may be forgotten.
func (q *queue) learn(took time.Duration) {
	mean := q.turn.Load()
	if mean == 0 {
		mean = int64(took)
	}
	q.turn.Store(mean + (int64(took)-mean)/turnMemory)
}

// comeBack refuses a call that would wait for so long: by then those who are in the queue now have had their turn. A
// second is the least that REST can tell.
func comeBack(wait time.Duration) error { return apierr.Overloaded(max(time.Second, wait)) }
