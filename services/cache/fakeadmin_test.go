package cache_test

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// administer applies a change of a user by an admin. Change reports whether it has changed anything.
func (s *fakeStore) administer(
	ctx context.Context, method, id string, change func(*gatehousev1.User) bool,
) (*gatehousev1.User, error) {
	return serve(ctx, s, method, func() (*gatehousev1.User, error) {
		if err := s.asAdmin(ctx); err != nil {
			return nil, err
		}
		user, err := s.managed(ctx, id)
		if err != nil {
			return nil, err
		}
		if change(user) {
			user.Version++
		}
		return proto.CloneOf(user), nil
	})
}

func (s *fakeStore) DisableUser(
	ctx context.Context, req *gatehousev1.DisableUserRequest,
) (*gatehousev1.DisableUserResponse, error) {
	user, err := s.administer(ctx, "DisableUser", req.GetId(), disable)
	return &gatehousev1.DisableUserResponse{User: user}, err
}

func disable(user *gatehousev1.User) bool {
	if user.GetState() == gatehousev1.UserState_USER_STATE_DISABLED {
		return false
	}
	user.State = gatehousev1.UserState_USER_STATE_DISABLED
	return endSessions(user)
}

func endSessions(user *gatehousev1.User) bool {
	user.SessionGeneration++
	return true
}

func (s *fakeStore) EnableUser(
	ctx context.Context, req *gatehousev1.EnableUserRequest,
) (*gatehousev1.EnableUserResponse, error) {
	user, err := s.administer(ctx, "EnableUser", req.GetId(), func(user *gatehousev1.User) bool {
		changed := user.GetState() != gatehousev1.UserState_USER_STATE_ACTIVE
		user.State = gatehousev1.UserState_USER_STATE_ACTIVE
		return changed
	})
	return &gatehousev1.EnableUserResponse{User: user}, err
}

func (s *fakeStore) SetRoles(
	ctx context.Context, req *gatehousev1.SetRolesRequest,
) (*gatehousev1.SetRolesResponse, error) {
	user, err := s.administer(ctx, "SetRoles", req.GetId(), func(user *gatehousev1.User) bool {
		changed := !slices.Equal(user.GetRoles(), req.GetRoles())
		user.Roles = slices.Clone(req.GetRoles())
		return changed
	})
	return &gatehousev1.SetRolesResponse{User: user}, err
}

func (s *fakeStore) ResetUserPassword(
	ctx context.Context, req *gatehousev1.ResetUserPasswordRequest,
) (*gatehousev1.ResetUserPasswordResponse, error) {
	user, err := s.administer(ctx, "ResetUserPassword", req.GetId(), endSessions)
	return &gatehousev1.ResetUserPasswordResponse{User: user}, err
}

func (s *fakeStore) DeleteUserSessions(
	ctx context.Context, req *gatehousev1.DeleteUserSessionsRequest,
) (*gatehousev1.DeleteUserSessionsResponse, error) {
	user, err := s.administer(ctx, "DeleteUserSessions", req.GetUserId(), endSessions)
	return &gatehousev1.DeleteUserSessionsResponse{User: user}, err
}

func (s *fakeStore) RotateKey(
	ctx context.Context, _ *gatehousev1.RotateKeyRequest,
) (*gatehousev1.RotateKeyResponse, error) {
	return serve(ctx, s, "RotateKey", func() (*gatehousev1.RotateKeyResponse, error) {
		return &gatehousev1.RotateKeyResponse{KeyId: "the next"}, s.asAdmin(ctx)
	})
}

func (s *fakeStore) ListAuditEvents(
	ctx context.Context, _ *gatehousev1.ListAuditEventsRequest,
) (*gatehousev1.ListAuditEventsResponse, error) {
	return serve(ctx, s, "ListAuditEvents", func() (*gatehousev1.ListAuditEventsResponse, error) {
		return &gatehousev1.ListAuditEventsResponse{NextPageToken: "the next"}, s.asAdmin(ctx)
	})
}
