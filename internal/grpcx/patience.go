package grpcx

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	// patience is how long a call waits for a service that cannot be reached: about as long as one takes to start. Who
	// has not answered for so long may be thought to hang.
	patience = time.Second

	// silentCalls in a row show that a service hangs, or is away: not while any of its replicas answers anybody.
	silentCalls = 20

	// circuitRest is how long a service that is silent is left alone before one call tries it.
	circuitRest = time.Second
)

// errSilent says that a service has not answered a call, for no fault of the call's.
var errSilent = errors.New("the service does not answer")

// silence is the error of a call that was not answered.
type silence struct{ error }

func (silence) Is(target error) bool { return target == errSilent }

// circuit keeps calls from waiting, all of them, for a service that does not answer.
type circuit struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	answers atomic.Uint64 // how many calls were answered
}

func newCircuit() *circuit {
	return &circuit{breaker: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Timeout:      circuitRest,
		ReadyToTrip:  func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= silentCalls },
		IsSuccessful: answered,
		// A call whose caller had no time for an answer is neither a success nor a failure.
		IsExcluded: func(err error) bool { return !answered(err) && !errors.Is(err, errSilent) },
	})}
}

// call is a grpc.UnaryClientInterceptor. While the service is silent, all calls but one a second fail at once.
func (c *circuit) call(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	_, err := c.breaker.Execute(func() (struct{}, error) {
		before, began := c.answers.Load(), time.Now()
		err := patient(ctx, method, req, reply, conn, invoke, options...)
		switch {
		case answered(err):
			c.answers.Add(1)
		case silent(err, time.Since(began)) && c.answers.Load() == before:
			err = silence{err}
		}
		return struct{}{}, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return apierr.Status(apierr.Unavailable(errSilent)).Err()
	}
	if unanswered, ok := errors.AsType[silence](err); ok {
		return unanswered.error
	}
	return err
}

// silent tells whether a call that was not answered has waited for it, or to be sent, in vain. A caller who gives up
// early says nothing about the service, and many calls that are lost with one replica say nothing about the others. Nor
// do many that wait in a queue, and whose callers give up together, if others were answered meanwhile.
func silent(err error, after time.Duration) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return after >= patience
	default:
		return false
	}
}

// answered tells whether a call has an answer of the service: its own errors all have a reason.
func answered(err error) bool {
	return err == nil || apierr.ReasonOf(status.Convert(err)) != gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// patient waits for a service of which no replica can be reached, and then makes the call that was not sent.
func patient(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	var at peer.Peer // Nobody, if the call was not sent.
	err := invoke(ctx, method, req, reply, conn, append(options, grpc.Peer(&at))...)
	if status.Code(err) != codes.Unavailable || answered(err) || at.Addr != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(waiting, state) {
			return err
		}
	}
	return invoke(ctx, method, req, reply, conn, options...)
}
