package edge

import (
	"context"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// MaxCalls bounds the calls that are under way, over both transports. A call is under way until its answer is sent.
	MaxCalls = 8 << 10

	// CallsPerClient bounds those of one client, over all its connections. Most calls take milliseconds, so that this is
	// enough for tens of thousands in a second.
	CallsPerClient = 512

	// maxRefusals and refusalsPerClient bound refusals due to MaxCalls and CallsPerClient that the client does not read
	// over HTTP/2. The gateway resets any further stream.
	maxRefusals       = 1 << 10
	refusalsPerClient = 64

	// retryCalls is the delay after which a refused client may retry.
	retryCalls = time.Second
)

// Calls bounds the calls under way, of each client and of all. It is safe for concurrent use.
type Calls struct{ UnderWay, Refusals *shares.Pool }

func newCalls() *Calls {
	return &Calls{
		UnderWay: shares.NewFair(MaxCalls, CallsPerClient), Refusals: shares.NewFair(maxRefusals, refusalsPerClient),
	}
}

// Acquire counts a call of the client that the context carries until release is called. It returns OVERLOADED if the
// client's share is used up.
func (c *Calls) Acquire(ctx context.Context) (release func(), err error) {
	release, ok := c.UnderWay.Acquire(ClientKey(ctx), 1)
	if !ok {
		return nil, ErrTooManyCalls()
	}
	return release, nil
}

// ErrTooManyCalls returns OVERLOADED.
func ErrTooManyCalls() error { return apierr.Overloaded(retryCalls) }
