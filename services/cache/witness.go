package cache

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// witness is the connection to the store. Whatever was asked there: if the error says that a session has ended, or that
// a caller is not who the cache took them for, the cache knows it before the caller does.
type invalidatingConn struct {
	grpc.ClientConnInterface

	entries *Entries
}

// Invoke implements grpc.ClientConnInterface.
func (c invalidatingConn) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
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

// unseats tells whether the store has refused a caller whom the cache had admitted: what is known here of the user is
// outdated then. That may be so since a change whose cache service died before it could tell. A caller who was no admin
// here may lack the role by the store as well.
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
