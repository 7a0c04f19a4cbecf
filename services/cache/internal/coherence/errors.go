package coherence

import (
	"context"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// OnChangeError invalidates what a failed change may have changed nevertheless: the store can have committed it, and
// its answer be lost. Unknown ids are empty.
func (e *Entries) OnChangeError(ctx context.Context, err error, userID, sessionID string) {
	if userID == "" || e.OnReadError(ctx, err, userID) {
		return
	}
	switch apierr.Status(err).Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.Aborted:
		e.Invalidate(ctx, userID, sessionID)
	default: // The store has rejected the change.
	}
}

// OnReadError reports whether an error of the store shows that the cached user may be outdated, and invalidates it
// then. The call may repeat a change whose cache service died before it could invalidate anything.
func (e *Entries) OnReadError(ctx context.Context, err error, userID string) (outdated bool) {
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
