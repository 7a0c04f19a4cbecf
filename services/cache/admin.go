package cache

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// admin is the AdminService of the store with a cache before it: what was changed of a user is known everywhere before
// the admin hears of it. Who is admitted here is an admin by the token and by the account.
type admin struct {
	gatehousev1.UnsafeAdminServiceServer

	store   gatehousev1.AdminServiceClient
	entries *Entries
}

// DisableUser passes the call on and keeps the user, all of whose sessions have ended with the change.
func (a *admin) DisableUser(
	ctx context.Context, req *gatehousev1.DisableUserRequest,
) (*gatehousev1.DisableUserResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.DisableUser, req)
}

// EnableUser passes the call on and keeps the user.
func (a *admin) EnableUser(
	ctx context.Context, req *gatehousev1.EnableUserRequest,
) (*gatehousev1.EnableUserResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.EnableUser, req)
}

// SetRoles passes the call on and keeps the user.
func (a *admin) SetRoles(
	ctx context.Context, req *gatehousev1.SetRolesRequest,
) (*gatehousev1.SetRolesResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.SetRoles, req)
}

// ResetUserPassword passes the call on and keeps the user, all of whose sessions have ended with the change.
func (a *admin) ResetUserPassword(
	ctx context.Context, req *gatehousev1.ResetUserPasswordRequest,
) (*gatehousev1.ResetUserPasswordResponse, error) {
	return manage(ctx, a.entries, req.GetId(), a.store.ResetUserPassword, req)
}

// DeleteUserSessions passes the call on and keeps the user, all of whose sessions have ended with the change.
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
