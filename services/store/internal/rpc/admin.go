package rpc

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// adminService implements gatehouse.v1.AdminService.
type adminService struct {
	gatehousev1.UnsafeAdminServiceServer
	Config
}

// DisableUser disables an account and ends its sessions.
func (s *adminService) DisableUser(
	ctx context.Context, req *gatehousev1.DisableUserRequest,
) (*gatehousev1.DisableUserResponse, error) {
	user, err := s.change(ctx, req.GetId(), func(change *storage.UserChange) {
		if change.User.State != account.Disabled {
			change.User.State = account.Disabled
			change.User.SessionGeneration++
		}
	})
	return &gatehousev1.DisableUserResponse{User: user}, err
}

// EnableUser enables an account.
func (s *adminService) EnableUser(
	ctx context.Context, req *gatehousev1.EnableUserRequest,
) (*gatehousev1.EnableUserResponse, error) {
	user, err := s.change(ctx, req.GetId(), func(change *storage.UserChange) { change.User.State = account.Active })
	return &gatehousev1.EnableUserResponse{User: user}, err
}

// SetRoles sets the roles of a user.
func (s *adminService) SetRoles(
	ctx context.Context, req *gatehousev1.SetRolesRequest,
) (*gatehousev1.SetRolesResponse, error) {
	user, err := s.change(ctx, req.GetId(), func(change *storage.UserChange) {
		change.User.Admin = slices.Contains(req.GetRoles(), account.RoleAdmin)
	})
	return &gatehousev1.SetRolesResponse{User: user}, err
}

// ResetUserPassword sets a password and ends the user's sessions.
func (s *adminService) ResetUserPassword(
	ctx context.Context, req *gatehousev1.ResetUserPasswordRequest,
) (*gatehousev1.ResetUserPasswordResponse, error) {
	if _, err := authn.OwnUserID(ctx, req.GetId()); err == nil {
		return nil, apierr.OwnAccount("ChangePassword") // That call requires the current password, which a thief lacks.
	}
	if err := s.checkNewPasswordOf(ctx, req.GetId(), req.GetNewPassword()); err != nil {
		return nil, err
	}
	hash, err := s.Hasher.Hash(ctx, req.GetNewPassword())
	if err != nil {
		return nil, apiError(err)
	}
	user, err := s.change(ctx, req.GetId(), func(change *storage.UserChange) {
		change.PasswordHash = hash
		change.User.SessionGeneration++
	})
	return &gatehousev1.ResetUserPasswordResponse{User: user}, err
}

// checkNewPasswordOf checks a password that is set for the user whom a request names.
func (s *adminService) checkNewPasswordOf(ctx context.Context, id, secret string) error {
	id, err := authn.ManagedUserID(ctx, id)
	if err != nil {
		return err
	}
	user, err := s.Storage.ReadUser(ctx, id)
	if err != nil {
		return userError(err)
	}
	return checkNewPassword(s.Passwords, secret,
		password.Account{Email: user.Email, FullName: user.FullName})
}

// DeleteUserSessions ends a user's sessions.
func (s *adminService) DeleteUserSessions(
	ctx context.Context, req *gatehousev1.DeleteUserSessionsRequest,
) (*gatehousev1.DeleteUserSessionsResponse, error) {
	user, err := s.change(ctx, req.GetUserId(), func(change *storage.UserChange) { change.User.SessionGeneration++ })
	return &gatehousev1.DeleteUserSessionsResponse{User: user}, err
}

// change changes the user whom a request names.
func (s *adminService) change(
	ctx context.Context, id string, edit func(*storage.UserChange),
) (*gatehousev1.User, error) {
	id, err := authn.ManagedUserID(ctx, id)
	if err != nil {
		return nil, err
	}
	user, err := s.Storage.ChangeUser(ctx, id, s.Now(), func(before account.User) (storage.UserChange, error) {
		change := storage.UserChange{User: before}
		edit(&change)
		return change, nil
	})
	if err != nil {
		return nil, userError(err)
	}
	return fullUserResource(user)
}

// RotateKey creates the next signing key.
func (s *adminService) RotateKey(
	ctx context.Context, _ *gatehousev1.RotateKeyRequest,
) (*gatehousev1.RotateKeyResponse, error) {
	key, made, err := s.Keys.Rotate(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	return &gatehousev1.RotateKeyResponse{
		KeyId: key.KeyID, ActivateTime: timestamppb.New(key.ActivateTime), Made: made,
	}, nil
}
