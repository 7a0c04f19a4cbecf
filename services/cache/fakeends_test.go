package cache_test

import (
	"context"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

func (s *fakeStore) DeleteSession(
	ctx context.Context, req *gatehousev1.DeleteSessionRequest,
) (*gatehousev1.DeleteSessionResponse, error) {
	return serve(ctx, s, "DeleteSession", func() (*gatehousev1.DeleteSessionResponse, error) {
		_, _, named, err := s.lookUp(ctx, req.GetId())
		if err != nil {
			return nil, err
		}
		named.ended = true
		return &gatehousev1.DeleteSessionResponse{}, nil
	})
}

func (s *fakeStore) DeleteAllSessions(
	ctx context.Context, req *gatehousev1.DeleteAllSessionsRequest,
) (*gatehousev1.DeleteAllSessionsResponse, error) {
	return serve(ctx, s, "DeleteAllSessions", func() (*gatehousev1.DeleteAllSessionsResponse, error) {
		user, current, err := s.caller(ctx)
		if err != nil {
			return nil, err
		}
		response := &gatehousev1.DeleteAllSessionsResponse{}
		s.endAllSessions(user)
		if req.GetKeepCurrent() {
			successor := s.replace(current, user)
			response.Session, response.AccessToken = successor.shown(true), s.issue(successor)
			response.RefreshToken = successor.refreshToken()
		}
		response.User = proto.CloneOf(user)
		return response, nil
	})
}

func (s *fakeStore) ChangePassword(
	ctx context.Context, req *gatehousev1.ChangePasswordRequest,
) (*gatehousev1.ChangePasswordResponse, error) {
	return serve(ctx, s, "ChangePassword", func() (*gatehousev1.ChangePasswordResponse, error) {
		user, current, err := s.caller(ctx)
		if err != nil {
			return nil, err
		}
		if req.GetCurrentPassword() != password {
			return nil, apierr.PasswordWrong()
		}
		s.endAllSessions(user)
		successor := s.replace(current, user)
		return &gatehousev1.ChangePasswordResponse{
			Session: successor.shown(true), AccessToken: s.issue(successor), RefreshToken: successor.refreshToken(),
			User: proto.CloneOf(user),
		}, nil
	})
}

func (s *fakeStore) endAllSessions(user *gatehousev1.User) {
	user.Version++
	user.SessionGeneration++
}

// replace ends a session, and opens another one in its place.
func (s *fakeStore) replace(session *sessionRow, user *gatehousev1.User) *sessionRow {
	session.ended = true
	return s.open(user)
}
