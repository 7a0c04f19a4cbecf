package password

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// minQueuePerSlot and maxQueuePerSlot bound the length of the queue whatever the estimate is. Where hashes are
	// expensive, a few people who log in together are no overload, and their deadlines bound their waits; where hashes
	// are cheap, every waiting call still holds a request.
	minQueuePerSlot, maxQueuePerSlot = 32, 100

	// ewmaWindow is the number of calls over which serviceTime averages, more or less: it follows a machine that gets
	// busy within a second, and one odd call does not upset it.
	ewmaWindow = 8

	unlimited = math.MaxInt64 // bytes
)

// queue admits calls to a number of slots, and to as much memory as all calls in a slot may hold together. It is fair:
// in a round every client that waits gets one slot, and a client that begins to wait takes part in the current round
// (start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996), first of all if it did not wait in the round before
// (as sparse flows in RFC 8290, section 3). So a client waits for its own calls and for one call of each other client,
// however many calls those have sent. When the queue is full, the client with the most waiting calls loses its newest.
// It is safe for concurrent use.
type queue struct {
	slots  int
	memory int64 // bytes

	mutex       sync.Mutex
	running     int
	held        int64     // bytes of the calls that are running
	waiting     []*waiter // by rank, and by arrival within a rank
	round       uint64    // of the call that was admitted last
	clients     map[shares.Key]*client
	serviceTime time.Duration // how long a call holds its slot: a moving average, 0 before the first has ended
	finished    atomic.Uint64 // calls that have held a slot
}

// client is what the queue knows of a client that waits, or has waited in the current round.
type client struct {
	waiting int
	next    uint64 // the first round in which it has had no call
}

// waiter is a call that waits.
type waiter struct {
	client   *client
	rank     uint64 // twice the round, and one more if the client waited in the round before
	bytes    int64
	admitted bool
	done     chan error // receives nil when the call is admitted, or why it is not
}

func newQueue(slots int, memory int64) *queue {
	return &queue{slots: slots, memory: memory, clients: map[shares.Key]*client{}}
}

// acquire waits until a call that holds so many bytes is admitted; release ends it. It fails as admit does, with an
// OverloadedError if the queue gets too full meanwhile, and with the error of ctx if that ends first. The bytes must be
// within the memory of the queue.
func (q *queue) acquire(ctx context.Context, key shares.Key, bytes int64) (release func(), err error) {
	call, err := q.enqueue(ctx, key, bytes)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-call.done:
	case <-ctx.Done():
	}
	if ended := ctx.Err(); ended != nil { // It may have been admitted in the same moment.
		q.abandon(call)
		return nil, ended
	}
	if err != nil {
		return nil, err
	}
	began := time.Now()
	return func() { q.finish(call, time.Since(began)) }, nil
}

// admit reports an error if a call that comes now would not be let in: the error of ctx if that has ended, or
// an OverloadedError
//   - if its client has others waiting, and it would wait for longer than deadlines.HashQueue behind more than a few,
//   - if the queue is full, and no client has more calls waiting than its own,
//   - if those before it keep it from being done before the deadline of ctx.
func (q *queue) admit(ctx context.Context, key shares.Key) error {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.check(ctx, key)
}

func (q *queue) enqueue(ctx context.Context, key shares.Key, bytes int64) (*waiter, error) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if err := q.check(ctx, key); err != nil {
		return nil, err
	}
	if q.full() {
		newest := q.newestOfLargest()
		q.waiting[newest].done <- overloaded(q.wait(q.running + newest))
		q.remove(newest)
	}
	rank, position := q.nextPosition(key)
	known := q.clients[key]
	if known == nil {
		known = &client{}
		q.clients[key] = known
	}
	known.waiting++
	known.next = rank/2 + 1
	call := &waiter{client: known, rank: rank, bytes: bytes, done: make(chan error, 1)}
	q.waiting = slices.Insert(q.waiting, position, call)
	q.dispatch()
	return call, nil
}

// check is admit for callers that hold the mutex.
func (q *queue) check(ctx context.Context, key shares.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, position := q.nextPosition(key)
	ahead := q.running + position
	wait := q.wait(ahead)
	if q.full() && q.waiting[q.newestOfLargest()].client.waiting <= q.countOf(key)+1 {
		return overloaded(wait)
	}
	if wait == 0 {
		return nil // It is nobody else's fault if the deadline is too near.
	}
	tooMany := wait > deadlines.HashQueue && ahead >= q.slots*(1+minQueuePerSlot) && q.countOf(key) > 0
	deadline, hasDeadline := ctx.Deadline()
	tooLate := hasDeadline && time.Until(deadline) < wait+q.serviceTime
	if tooMany || tooLate {
		return overloaded(wait)
	}
	return nil
}

func (q *queue) full() bool { return len(q.waiting) >= q.slots*maxQueuePerSlot }

// countOf returns how many calls of a client are waiting.
func (q *queue) countOf(key shares.Key) int {
	if known := q.clients[key]; known != nil {
		return known.waiting
	}
	return 0
}

// nextPosition returns the rank of a client's next call, and how many of the waiting calls are admitted before it.
func (q *queue) nextPosition(key shares.Key) (rank uint64, position int) {
	rank = 2 * q.round
	if known := q.clients[key]; known != nil && known.next >= q.round {
		rank = 2*known.next + 1
	}
	position, _ = slices.BinarySearchFunc(q.waiting, rank+1, func(w *waiter, next uint64) int {
		return cmp.Compare(w.rank, next)
	})
	return rank, position
}

// newestOfLargest returns the position of the last call of the client that has the most calls waiting.
func (q *queue) newestOfLargest() int {
	largest := 0
	for i, call := range q.waiting {
		if call.client.waiting >= q.waiting[largest].client.waiting {
			largest = i
		}
	}
	return largest
}

// wait returns how long a call waits that has so many before it, running ones included.
func (q *queue) wait(ahead int) time.Duration {
	return q.serviceTime * time.Duration(max(0, ahead-q.slots+1)) / time.Duration(q.slots)
}

// dispatch admits calls while there is room. A call that needs more memory than is free is not overtaken: it would wait
// forever.
func (q *queue) dispatch() {
	for len(q.waiting) > 0 && q.running < q.slots && q.waiting[0].bytes <= q.memory-q.held {
		call := q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
		call.client.waiting--
		q.round = call.rank / 2
		q.running++
		q.held += call.bytes
		call.admitted = true
		call.done <- nil
	}
	switch {
	case len(q.waiting) == 0 && q.running == 0:
		clear(q.clients)
	case len(q.clients) > 2*q.slots*maxQueuePerSlot:
		maps.DeleteFunc(q.clients, func(_ shares.Key, c *client) bool { return c.waiting == 0 })
	}
}

// abandon removes a call, wherever it is.
func (q *queue) abandon(call *waiter) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if call.admitted {
		q.release(call)
	} else if position := slices.Index(q.waiting, call); position >= 0 {
		q.remove(position)
		q.dispatch() // It may have been the one that waited for memory.
	}
}

// remove removes a call from those that are waiting. The later calls of its client move up by one position each.
func (q *queue) remove(position int) {
	removed := q.waiting[position]
	for i := position + 1; i < len(q.waiting); i++ {
		if later := q.waiting[i]; later.client == removed.client {
			later.rank, removed.rank = removed.rank, later.rank
			q.waiting[position], position = later, i
		}
	}
	q.waiting = slices.Delete(q.waiting, position, position+1)
	removed.client.waiting--
	removed.client.next--
}

func (q *queue) finish(call *waiter, took time.Duration) {
	q.finished.Add(1)
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.observe(took)
	q.release(call)
}

func (q *queue) release(call *waiter) {
	q.running--
	q.held -= call.bytes
	q.dispatch()
}

// observe records how long a call held its slot.
func (q *queue) observe(took time.Duration) {
	if q.serviceTime == 0 {
		q.serviceTime = took
	}
	q.serviceTime += (took - q.serviceTime) / ewmaWindow
}

// OverloadedError reports that too many calls wait for a core.
type OverloadedError struct {
	RetryAfter time.Duration // until those that wait now have been served; at least a second, as REST counts in seconds
}

// Error implements error.
func (e *OverloadedError) Error() string {
	return fmt.Sprintf("too many passwords wait to be hashed, retry after %v", e.RetryAfter)
}

// overloaded rejects a call that would wait for so long.
func overloaded(wait time.Duration) error {
	return &OverloadedError{RetryAfter: max(time.Second, wait)}
}
