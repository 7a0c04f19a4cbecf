package rpc

import (
	"context"
	"slices"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// UpdateUser changes a profile.
func (s *userService) UpdateUser(
	ctx context.Context, req *gatehousev1.UpdateUserRequest,
) (*gatehousev1.UpdateUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetUser().GetId())
	if err != nil {
		return nil, err
	}
	edit, err := s.newProfileEdit(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := s.checkAdminUpdate(ctx, id, edit); err != nil {
		return nil, err
	}
	user, err := s.Storage.ChangeUser(ctx, id, s.Now(), func(before account.User) (storage.UserChange, error) {
		if err := checkVersion(req.GetVersion(), before); err != nil {
			return storage.UserChange{}, err
		}
		return storage.UserChange{User: edit.applied(before)}, nil
	})
	if err != nil {
		return nil, userError(err)
	}
	resource, err := visibleUser(ctx, user)
	return &gatehousev1.UpdateUserResponse{User: resource}, err
}

// checkAdminUpdate requires a recent log-in for what only admins may do with a profile. It depends on the request, so
// that the contract cannot require it of the method as a whole.
func (s *userService) checkAdminUpdate(ctx context.Context, id string, edit profileEdit) error {
	if _, err := authn.OwnUserID(ctx, id); err == nil && !slices.Contains(edit.fields, "app_metadata") {
		return nil
	}
	return authn.CheckRecentLogin(ctx, s.Now())
}

// DeleteUser deletes an account.
func (s *userService) DeleteUser(
	ctx context.Context, req *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	_, err = s.Storage.ChangeUser(ctx, id, s.Now(), func(before account.User) (storage.UserChange, error) {
		return storage.UserChange{User: before, Delete: true}, checkVersion(req.GetVersion(), before)
	})
	if err != nil {
		return nil, userError(err)
	}
	return &gatehousev1.DeleteUserResponse{}, nil
}

// checkVersion returns VERSION_MISMATCH unless a change is for the current version of a user. 0 is for any version.
func checkVersion(expected int64, current account.User) error {
	if expected != 0 && expected != current.Version {
		return apierr.VersionMismatch()
	}
	return nil
}
