package cache_test

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// managed finds the user whom a request names and its caller may change. The truth must be locked.
func (s *fakeStore) managed(ctx context.Context, id string) (*gatehousev1.User, error) {
	caller, _, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if id == authn.Me || strings.EqualFold(id, caller.GetId()) {
		return caller, nil
	}
	named := s.users[strings.ToLower(id)]
	if named == nil || !isAdmin(caller) {
		return nil, apierr.UserNotFound()
	}
	return named, nil
}

func isAdmin(user *gatehousev1.User) bool { return slices.Contains(user.GetRoles(), authn.RoleAdmin) }

func (s *fakeStore) lastAdmin(user *gatehousev1.User) bool {
	for _, other := range s.users {
		if isAdmin(other) && other != user {
			return false
		}
	}
	return isAdmin(user)
}

// asAdmin fails unless on a caller that is one. The truth must be locked.
func (s *fakeStore) asAdmin(ctx context.Context) error {
	caller, _, err := s.caller(ctx)
	if err == nil && !isAdmin(caller) {
		err = apierr.RoleRequired()
	}
	return err
}

func (s *fakeStore) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	return serve(ctx, s, "CreateUser", func() (*gatehousev1.CreateUserResponse, error) {
		for _, user := range s.users {
			if user.GetEmail() == req.GetEmail() {
				return nil, apierr.EmailTaken()
			}
		}
		return &gatehousev1.CreateUserResponse{User: proto.CloneOf(s.add(req.GetEmail()))}, nil
	})
}

func (s *fakeStore) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	return serve(ctx, s, "ReadUser", func() (*gatehousev1.ReadUserResponse, error) {
		user, err := s.managed(ctx, req.GetId())
		return &gatehousev1.ReadUserResponse{User: proto.CloneOf(user)}, err
	})
}

func (s *fakeStore) UpdateUser(
	ctx context.Context, req *gatehousev1.UpdateUserRequest,
) (*gatehousev1.UpdateUserResponse, error) {
	return serve(ctx, s, "UpdateUser", func() (*gatehousev1.UpdateUserResponse, error) {
		user, err := s.managed(ctx, req.GetUser().GetId())
		switch {
		case err != nil:
			return nil, err
		case req.GetUser().GetAppMetadata() != nil && s.asAdmin(ctx) != nil:
			return nil, apierr.RoleRequired()
		case req.GetVersion() != 0 && req.GetVersion() != user.GetVersion():
			return nil, apierr.VersionMismatch()
		case req.GetUser().GetFullName() != user.GetFullName():
			user.FullName = req.GetUser().GetFullName()
			user.Version++
		}
		return &gatehousev1.UpdateUserResponse{User: proto.CloneOf(user)}, nil
	})
}

func (s *fakeStore) DeleteUser(
	ctx context.Context, req *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	return serve(ctx, s, "DeleteUser", func() (*gatehousev1.DeleteUserResponse, error) {
		user, err := s.managed(ctx, req.GetId())
		if err != nil {
			return nil, err
		}
		if s.lastAdmin(user) {
			return nil, apierr.LastAdmin()
		}
		s.remove(user.GetId())
		return &gatehousev1.DeleteUserResponse{}, nil
	})
}

// remove deletes a user and all sessions. The truth must be locked.
func (s *fakeStore) remove(userID string) {
	delete(s.users, userID)
	for id, session := range s.sessions {
		if session.GetUserId() == userID {
			delete(s.sessions, id)
		}
	}
}

func (s *fakeStore) ListUsers(
	ctx context.Context, _ *gatehousev1.ListUsersRequest,
) (*gatehousev1.ListUsersResponse, error) {
	return serve(ctx, s, "ListUsers", func() (*gatehousev1.ListUsersResponse, error) {
		if err := s.asAdmin(ctx); err != nil {
			return nil, err
		}
		response := &gatehousev1.ListUsersResponse{}
		for _, user := range s.users {
			response.Users = append(response.Users, proto.CloneOf(user))
		}
		return response, nil
	})
}
