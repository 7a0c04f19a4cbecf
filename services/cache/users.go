package cache

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// users is the UserService of the store with a cache before it. It embeds Unsafe…, not Unimplemented…: a method that
// the contract gains must not be answered here by chance, so leaving it out does not compile.
type users struct {
	gatehousev1.UnsafeUserServiceServer

	store   gatehousev1.UserServiceClient
	entries *Entries
}

// CreateUser passes the call on and keeps the user whom the store has made. With a request id it may have made the user
// long ago, and answer as it did then: of such a user anything can be known by now, so nothing is kept.
func (u *users) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	lease := u.entries.AcquireLease()
	response, err := u.store.CreateUser(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.GetRequestId() == "" {
		u.entries.Fill(ctx, lease, response.GetUser(), nil)
	}
	return response, nil
}

// ReadUser answers with what the caller was admitted by. Admins are answered by the store, about themselves as well:
// they may see more than is kept here.
func (u *users) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if authn.IsAdmin(ctx) {
		response, err := u.store.ReadUser(ctx, req)
		if err != nil {
			u.entries.AfterFailedCall(ctx, err, id)
		}
		return response, err
	}
	account, ok := authn.AccountFrom(ctx)
	if !ok {
		return nil, apierr.AccessTokenMissing()
	}
	return &gatehousev1.ReadUserResponse{User: account.User}, nil
}

// UpdateUser passes the call on and keeps the user.
func (u *users) UpdateUser(
	ctx context.Context, req *gatehousev1.UpdateUserRequest,
) (*gatehousev1.UpdateUserResponse, error) {
	return manage(ctx, u.entries, req.GetUser().GetId(), u.store.UpdateUser, req)
}

// DeleteUser passes the call on and keeps it that the user is gone.
func (u *users) DeleteUser(
	ctx context.Context, req *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	about := subject{userID: id}
	if caller, _ := authn.CallerFrom(ctx); caller.UserID == id {
		about.sessionID = caller.SessionID
	}
	return commit(ctx, u.entries, about, u.store.DeleteUser, req, func(Lease, *gatehousev1.DeleteUserResponse) {
		u.entries.UserDeleted(ctx, about.userID, about.sessionID)
	})
}

// ListUsers passes the call on.
func (u *users) ListUsers(
	ctx context.Context, req *gatehousev1.ListUsersRequest,
) (*gatehousev1.ListUsersResponse, error) {
	return u.store.ListUsers(ctx, req)
}
