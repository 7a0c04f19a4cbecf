package store

import (
	"context"
	"errors"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// recentLogin is how old a session may be that an account is deleted with.
const recentLogin = 10 * time.Minute

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
	user, err := s.storage.ChangeUser(ctx, id, s.now(), func(before storage.User) (storage.UserChange, error) {
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

// DeleteUser deletes an account.
func (s *userService) DeleteUser(
	ctx context.Context, req *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	account, _ := authn.AccountFrom(ctx) // Admission has just read it.
	if s.now().Sub(account.Session.GetCreateTime().AsTime()) > recentLogin {
		return nil, apierr.RecentLoginRequired()
	}
	_, err = s.storage.ChangeUser(ctx, id, s.now(), func(before storage.User) (storage.UserChange, error) {
		return storage.UserChange{User: before, Delete: true}, wantVersion(req.GetVersion(), before)
	})
	if err != nil {
		return nil, changeError(err)
	}
	return &gatehousev1.DeleteUserResponse{}, nil
}

// wantVersion refuses a change that is meant for another version than the present one. 0 is meant for any.
func wantVersion(wanted int64, present storage.User) error {
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
func visibleUser(ctx context.Context, user storage.User) (*gatehousev1.User, error) {
	if authn.IsAdmin(ctx) {
		return fullUserResource(user)
	}
	return userResource(user)
}
