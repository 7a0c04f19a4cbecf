package grpcx

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/breaker"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

var errUnresponsive = errors.New("the service does not respond")

// breakerInterceptor prevents that all calls wait for a service that does not respond.
type breakerInterceptor struct {
	breaker *breaker.Breaker
	answers atomic.Uint64 // calls that were answered
}

func newBreakerInterceptor() *breakerInterceptor {
	return &breakerInterceptor{breaker: breaker.New(breaker.Settings{
		Failures: deadlines.StoreFailures, OpenTimeout: deadlines.StoreOpen,
	})}
}

// call is a grpc.UnaryClientInterceptor.
func (b *breakerInterceptor) call(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	err := b.breaker.Do(func() (breaker.Outcome, error) {
		before, began := b.answers.Load(), time.Now()
		err := invoke(ctx, method, req, reply, conn, options...)
		switch {
		case IsAnswered(err):
			b.answers.Add(1)
			return breaker.Success, err
		// Many calls that wait in a queue, and whose callers give up together, show nothing if others were answered
		// meanwhile.
		case isUnresponsive(err, time.Since(began)) && b.answers.Load() == before:
			return breaker.Failure, err
		default:
			return breaker.Ignored, err
		}
	})
	if errors.Is(err, breaker.ErrOpen) {
		return apierr.Status(apierr.Unavailable(errUnresponsive)).Err()
	}
	return err
}

// isUnresponsive reports whether a call that was not answered has waited long enough. A caller that gives up early
// shows nothing about the service, and calls that are lost with one replica show nothing about the others.
func isUnresponsive(err error, waited time.Duration) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return waited >= deadlines.StoreUnresponsive
	default:
		return false
	}
}

// IsAnswered reports whether the outcome of a call is the answer of a service of Gatehouse: its errors all have a
// reason, and those of a connection have none.
func IsAnswered(err error) bool {
	return err == nil || apierr.ReasonOf(status.Convert(err)) != gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
}
