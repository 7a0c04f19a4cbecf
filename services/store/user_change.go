package store

import (
	"context"
	"errors"
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
	user, err := s.storage.ChangeUser(ctx, id, s.now(), func(before account.User) (storage.UserChange, error) {
		if err := wantVersion(req.GetVersion(), before); err != nil {
			return storage.UserChange{}, err
		}
		return storage.UserChange{User: edit.applied(before)}, nil
	})
	if err != nil {
		return nil, changeError(err)
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
	return authn.CheckRecentLogin(ctx, s.now())
}

// DeleteUser deletes an account.
func (s *userService) DeleteUser(
	ctx context.Context, req *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	_, err = s.storage.ChangeUser(ctx, id, s.now(), func(before account.User) (storage.UserChange, error) {
		return storage.UserChange{User: before, Delete: true}, wantVersion(req.GetVersion(), before)
	})
	if err != nil {
		return nil, changeError(err)
	}
	return &gatehousev1.DeleteUserResponse{}, nil
}

// wantVersion refuses a change that is meant for another version than the present one. 0 is meant for any.
func wantVersion(wanted int64, present account.User) error {
	if wanted != 0 && wanted != present.Version {
		return apierr.VersionMismatch()
	}
	return nil
}

// changeError is that of a change of a user.
func changeError(err error) error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return apierr.UserNotFound()
	case errors.Is(err, storage.ErrLastAdmin):
		return apierr.LastAdmin()
	default:
		return translate(err)
	}
}

// visibleUser is a user with what the caller may see.
func visibleUser(ctx context.Context, user account.User) (*gatehousev1.User, error) {
	if authn.IsAdmin(ctx) {
		return fullUserResource(user)
	}
	return userResource(user)
}
