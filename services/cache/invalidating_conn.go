package cache

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
)

// invalidatingConn is the connection to the store. If an error of any call shows that a session has ended, or that the
// cache has admitted a caller wrongly, it invalidates the entries before it returns the error.
type invalidatingConn struct {
	grpc.ClientConnInterface

	entries *coherence.Entries
}

// Invoke implements grpc.ClientConnInterface.
func (c invalidatingConn) Invoke(
	ctx context.Context, method string, args, reply any, options ...grpc.CallOption,
) error {
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, options...)
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	if sessionID, userID := apierr.EndedSession(st); sessionID != "" && userID != "" {
		c.entries.SessionEnded(ctx, userID, sessionID)
	}
	if account, admitted := authn.AccountFrom(ctx); admitted && contradictsAdmission(ctx, apierr.ReasonOf(st)) {
		c.entries.InvalidateOutdated(ctx, account.User.GetId())
	}
	return err
}

// contradictsAdmission reports whether the store has rejected a caller that the cache had admitted: the cached user is
// outdated then, maybe since a change whose cache service died before it could invalidate the user. A caller that was
// not an admin here may lack the role in the store as well.
func contradictsAdmission(ctx context.Context, reason gatehousev1.ErrorReason) bool {
	switch reason {
	case gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED:
		return true
	case gatehousev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED:
		return authn.IsAdmin(ctx)
	default:
		return false
	}
}
