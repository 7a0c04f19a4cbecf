package cache

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// commitTimeout bounds a change at the store, which goes on when its caller gives up: what the store has committed has
// to reach the cache, whoever still waits for it.
const commitTimeout = 10 * time.Second

// subject is what a change is about: a user, and the one session that it ends or spares. What is not known is empty.
type subject struct{ userID, sessionID string }

// call is a method of a client of the store.
type rpcMethod[Request, Response any] func(context.Context, Request, ...grpc.CallOption) (Response, error)

// commit makes a change at the store. The caller hears of it when the cache knows it: by keep, if the change was made,
// else by what the error shows.
func commit[Request, Response any](
	ctx context.Context, kept *Entries, about subject, change rpcMethod[Request, Response], req Request,
	keep func(Lease, Response),
) (none Response, err error) {
	lease := kept.AcquireLease()
	uncut, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	response, err := change(uncut, req)
	if err != nil {
		kept.AfterFailedChange(ctx, err, about)
		return none, err
	}
	keep(lease, response)
	return response, nil
}

// manage makes a change of a user whom the caller may change, and keeps the user that it is answered with.
func manage[Request any, Response interface{ GetUser() *gatehousev1.User }](
	ctx context.Context, kept *Entries, id string, change rpcMethod[Request, Response], req Request,
) (none Response, err error) {
	id, err = authn.ManagedUserID(ctx, id)
	if err != nil {
		return none, err
	}
	return commit(ctx, kept, subject{userID: id}, change, req, func(lease Lease, response Response) {
		kept.Change(ctx, lease, response.GetUser(), nil)
	})
}

// refused forgets what a change that failed may have changed all the same: the store can have committed it and its
// answer be lost. What the error shows of the caller, the witness has seen.
func (e *Entries) AfterFailedChange(ctx context.Context, err error, about subject) {
	if about.userID == "" || e.AfterFailedCall(ctx, err, about.userID) {
		return
	}
	switch apierr.Status(err).Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.Aborted:
		e.Invalidate(ctx, about.userID, about.sessionID)
	default: // The store has said no.
	}
}

// outdated tells whether an error of the store shows that what is kept of a user may be outdated, and forgets it then.
// The call may repeat a change that was made through a cache service which died before it could tell.
func (e *Entries) AfterFailedCall(ctx context.Context, err error, userID string) bool {
	switch apierr.ReasonOf(apierr.Status(err)) {
	case gatehousev1.ErrorReason_ERROR_REASON_PASSWORD_WRONG,
		gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND,
		gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH:
		e.InvalidateOutdated(ctx, userID)
		return true
	default:
		return false
	}
}
