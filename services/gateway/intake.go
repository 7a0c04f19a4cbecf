package gateway

import (
	"io"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	// maxIntake bounds the bytes of requests that are held at a time, over both transports. What is made of a request
	// on its way takes several times as much.
	maxIntake = 64 << 20

	// callShare is what a native gRPC call holds while its message comes: as much as may come before it is asked for.
	// Only then its length is known.
	callShare = 64 << 10

	// A message of native gRPC that has not come within receivePatience may be held back on purpose, by a client that
	// has sent all but the last byte. Of such there are maxSlow at a time, so that they cannot take the place of others;
	// small messages come together with the call, however slow the network is.
	receivePatience = time.Second
	maxSlow         = 32

	// retryIntake is when a client is asked to come again: what is held is held for a moment.
	retryIntake = time.Second
)

// intake bounds what the gateway holds of requests. Without it the bound would be that of one request, for each of the
// calls of each of the connections. It never waits. It is safe for concurrent use.
type intake struct {
	bytes, slow *semaphore.Weighted
}

func newIntake() *intake {
	return &intake{bytes: semaphore.NewWeighted(maxIntake), slow: semaphore.NewWeighted(maxSlow)}
}

// holding is what one request holds. It is for one goroutine.
type holding struct {
	intake *intake
	bytes  int64
}

// hold makes the holding of a request that has no bytes yet. Its owner releases it.
func (i *intake) hold() *holding { return &holding{intake: i} }

// set makes the holding so large. It fails with OVERLOADED, and changes nothing, where there is no room.
func (h *holding) set(bytes int64) error {
	more := bytes - h.bytes
	if more > 0 && !h.intake.bytes.TryAcquire(more) {
		return apierr.Overloaded(retryIntake)
	}
	if more < 0 {
		h.intake.bytes.Release(-more)
	}
	h.bytes = bytes
	return nil
}

func (h *holding) release() { _ = h.set(0) } // There is always room for less.

// read gives a reader of a body that adds to the holding what it reads.
func (h *holding) read(body io.Reader) io.Reader { return &heldReader{body, h} }

type heldReader struct {
	body    io.Reader
	holding *holding
}

// Read implements io.Reader.
func (r *heldReader) Read(into []byte) (int, error) {
	n, err := r.body.Read(into)
	if full := r.holding.set(r.holding.bytes + int64(n)); full != nil {
		return 0, full
	}
	return n, err
}

// beSlow takes one of the places for messages that are long in coming, until release.
func (i *intake) beSlow() (release func(), err error) {
	if !i.slow.TryAcquire(1) {
		return nil, apierr.Overloaded(retryIntake)
	}
	return func() { i.slow.Release(1) }, nil
}
