package cache

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
)

// admin is the AdminService of the store with a cache before it: a change of a user is visible everywhere before the
// admin receives the answer. An admitted caller is an admin according to the token and to the account.
type admin struct {
	gatehousev1.UnsafeAdminServiceServer

	store   gatehousev1.AdminServiceClient
	entries *coherence.Entries
}

// DisableUser passes the call on and caches the user. The change has ended all sessions of the user.
func (a *admin) DisableUser(
	ctx context.Context, req *gatehousev1.DisableUserRequest,
) (*gatehousev1.DisableUserResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.DisableUser, req)
}

// EnableUser passes the call on and caches the user.
func (a *admin) EnableUser(
	ctx context.Context, req *gatehousev1.EnableUserRequest,
) (*gatehousev1.EnableUserResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.EnableUser, req)
}

// SetRoles passes the call on and caches the user.
func (a *admin) SetRoles(
	ctx context.Context, req *gatehousev1.SetRolesRequest,
) (*gatehousev1.SetRolesResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.SetRoles, req)
}

// ResetUserPassword passes the call on and caches the user. The change has ended all sessions of the user.
func (a *admin) ResetUserPassword(
	ctx context.Context, req *gatehousev1.ResetUserPasswordRequest,
) (*gatehousev1.ResetUserPasswordResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.ResetUserPassword, req)
}

// DeleteUserSessions passes the call on and caches the user. The change has ended all sessions of the user.
func (a *admin) DeleteUserSessions(
	ctx context.Context, req *gatehousev1.DeleteUserSessionsRequest,
) (*gatehousev1.DeleteUserSessionsResponse, error) {
	return manage(ctx, a.entries, req.GetUserId(), a.store.DeleteUserSessions, req)
}

// RotateKey passes the call on.
func (a *admin) RotateKey(
	ctx context.Context, req *gatehousev1.RotateKeyRequest,
) (*gatehousev1.RotateKeyResponse, error) {
	return a.store.RotateKey(ctx, req)
}

// ListAuditEvents passes the call on.
func (a *admin) ListAuditEvents(
	ctx context.Context, req *gatehousev1.ListAuditEventsRequest,
) (*gatehousev1.ListAuditEventsResponse, error) {
	return a.store.ListAuditEvents(ctx, req)
}
