package edge

import (
	"io"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// Bounds of the bytes of requests that the gateway holds at a time, over both transports: of all clients, and of each.
// The first MaxSmallRequest bytes of a request count as small, all further ones as large, so that large requests cannot
// use up the room of small ones. Decoding a request needs several times as much for a moment.
const (
	maxSmallBytes          = 32 << 20
	MaxSmallBytesPerClient = 4 << 20
	maxLargeBytes          = 32 << 20
	MaxLargeBytesPerClient = 4 << 20
)

const (
	// InitialReservation is what a native gRPC call holds, in bytes, until the length of its message is known: so little
	// that there is room for all calls that a client may have under way, as in a burst.
	InitialReservation = MaxSmallBytesPerClient / CallsPerClient

	// SlowAfter is the time after which a native gRPC call without its message counts as slow: the client may withhold
	// it on purpose. A small message arrives together with its call even over a slow network.
	SlowAfter = time.Second

	// maxSlowCalls bounds the slow calls by number, as they hold more than their bytes.
	maxSlowCalls = 128

	// MaxSlowCallsPerClient bounds those of one client.
	MaxSlowCallsPerClient = 16

	// retryBudget is the delay after which a client may retry: most requests are held for a moment.
	retryBudget = time.Second
)

// RequestBudget bounds the bytes of requests that the gateway holds, for each client and for all. It never waits: a
// request without room fails with OVERLOADED. It is safe for concurrent use.
type RequestBudget struct {
	Small, Large, Slow *shares.Pool
}

// NewRequestBudget returns a budget of which nothing is reserved.
func NewRequestBudget() *RequestBudget {
	return &RequestBudget{
		Small: shares.NewFair(maxSmallBytes, MaxSmallBytesPerClient),
		Large: shares.NewFair(maxLargeBytes, MaxLargeBytesPerClient),
		Slow:  shares.NewFair(maxSlowCalls, MaxSlowCallsPerClient),
	}
}

// Reservation is the part of a RequestBudget that one request holds. It is safe for concurrent use.
type Reservation struct {
	budget *RequestBudget
	client shares.Key

	mutex    sync.Mutex
	bytes    int64
	released bool
}

// NewReservation returns an empty reservation for a request of a client. The caller must call Release.
func (b *RequestBudget) NewReservation(client shares.Key) *Reservation {
	return &Reservation{budget: b, client: client}
}

// Reserve makes the reservation as large as given. It returns OVERLOADED, and changes nothing, if there is no room.
// After Release it has no effect.
func (r *Reservation) Reserve(bytes int64) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.released {
		return nil
	}
	return r.resize(bytes)
}

// Release returns all that the reservation holds.
func (r *Reservation) Release() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	_ = r.resize(0) // There is always room for less.
	r.released = true
}

// resize changes the reservation to bytes. The caller holds r.mutex.
func (r *Reservation) resize(bytes int64) error {
	moreSmall := min(bytes, MaxSmallRequest) - min(r.bytes, MaxSmallRequest)
	moreLarge := max(bytes-MaxSmallRequest, 0) - max(r.bytes-MaxSmallRequest, 0)
	if !resizeShare(r.budget.Small, r.client, moreSmall) {
		return apierr.Overloaded(retryBudget)
	}
	if !resizeShare(r.budget.Large, r.client, moreLarge) {
		resizeShare(r.budget.Small, r.client, -moreSmall)
		return apierr.Overloaded(retryBudget)
	}
	r.bytes = bytes
	return nil
}

// resizeShare acquires more of a client's share, or releases some of it if more is negative.
func resizeShare(pool *shares.Pool, client shares.Key, more int64) bool {
	if more < 0 {
		pool.Release(client, -more)
		return true
	}
	return pool.TryAcquire(client, more)
}

// Reader returns a reader of a body that adds what it reads to the reservation.
func (r *Reservation) Reader(body io.Reader) io.Reader {
	return &reservingReader{body: body, reservation: r}
}

type reservingReader struct {
	body        io.Reader
	reservation *Reservation
	read        int64
}

// Read implements io.Reader.
func (r *reservingReader) Read(into []byte) (int, error) {
	n, err := r.body.Read(into)
	r.read += int64(n)
	if full := r.reservation.Reserve(r.read); full != nil {
		return 0, full
	}
	return n, err
}

// AcquireSlowSlot acquires one of the slots for calls whose message is slow to arrive, until release is called.
func (r *Reservation) AcquireSlowSlot() (release func(), err error) {
	release, ok := r.budget.Slow.Acquire(r.client, 1)
	if !ok {
		return nil, apierr.Overloaded(retryBudget)
	}
	return release, nil
}
