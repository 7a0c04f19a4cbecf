package gateway

import (
	"io"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// Bounds of the bytes of requests that the gateway holds at a time, over both transports: of all clients, and of each.
// The first maxSmallRequest bytes of a request count as small, what it has beyond them as large, so that large requests
// cannot take the place of small ones. Decoding a request takes several times as much for a moment.
const (
	maxSmallBytes          = 32 << 20
	maxSmallBytesPerClient = 4 << 20
	maxLargeBytes          = 32 << 20
	maxLargeBytesPerClient = 4 << 20
)

const (
	// initialReservation is what a native gRPC call holds, in bytes, until the length of its message is known: so little
	// that all calls that a client may have under way have room for it at once, as in a burst.
	initialReservation = maxSmallBytesPerClient / callsPerClient

	// A native gRPC call whose message has not arrived within slowAfter may withhold it on purpose. Such calls are
	// bounded by number: they hold more than their bytes, and small messages arrive together with the call, however
	// slow the network is.
	slowAfter             = time.Second
	maxSlowCalls          = 128
	maxSlowCallsPerClient = 16

	// retryBudget is when a client that finds no room should come again: most requests are held for a moment.
	retryBudget = time.Second
)

// requestBudget bounds the bytes of requests that the gateway holds, for each client and for all. It never waits: a
// request that finds no room fails with OVERLOADED. It is safe for concurrent use.
type requestBudget struct {
	small, large, slow *shares.Pool
}

func newRequestBudget() *requestBudget {
	return &requestBudget{
		small: shares.NewFair(maxSmallBytes, maxSmallBytesPerClient),
		large: shares.NewFair(maxLargeBytes, maxLargeBytesPerClient),
		slow:  shares.NewFair(maxSlowCalls, maxSlowCallsPerClient),
	}
}

// reservation is the part of a requestBudget that one request holds. It is safe for concurrent use.
type reservation struct {
	budget *requestBudget
	client shares.Key

	mutex    sync.Mutex
	bytes    int64
	released bool
}

// newReservation returns an empty reservation for a request of a client. The caller must release it.
func (b *requestBudget) newReservation(client shares.Key) *reservation {
	return &reservation{budget: b, client: client}
}

// reserve makes the reservation as large as given. It fails with OVERLOADED, and changes nothing, if there is no room.
// After release it has no effect.
func (r *reservation) reserve(bytes int64) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.released {
		return nil
	}
	return r.resize(bytes)
}

// release returns all that the reservation holds.
func (r *reservation) release() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	_ = r.resize(0) // There is always room for less.
	r.released = true
}

// resize needs r.mutex.
func (r *reservation) resize(bytes int64) error {
	moreSmall := min(bytes, maxSmallRequest) - min(r.bytes, maxSmallRequest)
	moreLarge := max(bytes-maxSmallRequest, 0) - max(r.bytes-maxSmallRequest, 0)
	if !resizeShare(r.budget.small, r.client, moreSmall) {
		return apierr.Overloaded(retryBudget)
	}
	if !resizeShare(r.budget.large, r.client, moreLarge) {
		resizeShare(r.budget.small, r.client, -moreSmall)
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

// reader returns a reader of a body that adds what it reads to the reservation.
func (r *reservation) reader(body io.Reader) io.Reader {
	return &reservingReader{body: body, reservation: r}
}

type reservingReader struct {
	body        io.Reader
	reservation *reservation
	read        int64
}

// Read implements io.Reader.
func (r *reservingReader) Read(into []byte) (int, error) {
	n, err := r.body.Read(into)
	r.read += int64(n)
	if full := r.reservation.reserve(r.read); full != nil {
		return 0, full
	}
	return n, err
}

// acquireSlowSlot acquires one of the slots for calls whose message is slow to arrive, until release.
func (b *requestBudget) acquireSlowSlot(client shares.Key) (release func(), err error) {
	release, ok := b.slow.Acquire(client, 1)
	if !ok {
		return nil, apierr.Overloaded(retryBudget)
	}
	return release, nil
}
