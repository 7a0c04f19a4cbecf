package rpc

import (
	"context"
	"errors"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// tokenType is how an access token is presented (RFC 6750).
const tokenType = "Bearer"

// sessionService implements gatehouse.v1.SessionService.
type sessionService struct {
	gatehousev1.UnsafeSessionServiceServer
	Config
}

// CreateSession logs in.
func (s *sessionService) CreateSession(
	ctx context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	issued, err := s.Login.LogIn(ctx, req.GetEmail(), req.GetPassword())
	if err != nil {
		return nil, apiError(err)
	}
	tokens := tokensOf(ctx, issued)
	return &gatehousev1.CreateSessionResponse{
		AccessToken: tokens.GetAccessToken(), TokenType: tokens.GetTokenType(), ExpiresIn: tokens.GetExpiresIn(),
		SessionId: tokens.GetSessionId(), RefreshToken: tokens.GetRefreshToken(),
		CreateTime: tokens.GetCreateTime(), ExpireTime: tokens.GetExpireTime(), Session: tokens.GetSession(),
	}, nil
}

// RefreshSession exchanges a refresh token for its successor.
func (s *sessionService) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	issued, err := s.Login.Refresh(ctx, req.GetRefreshToken())
	if err != nil {
		return nil, apiError(err)
	}
	return tokensOf(ctx, issued), nil
}

// tokensOf returns the message that shows a session and its tokens to the caller.
func tokensOf(ctx context.Context, issued login.Issued) *gatehousev1.RefreshSessionResponse {
	session := sessionResource(issued.Session)
	session.Current = true
	return &gatehousev1.RefreshSessionResponse{
		AccessToken: issued.Access.Signed, TokenType: tokenType,
		ExpiresIn: int32(issued.Access.Lifetime / time.Second), //nolint:gosec // ≤ 1 day
		SessionId: issued.Session.ID, RefreshToken: issued.RefreshToken,
		CreateTime: session.GetCreateTime(), ExpireTime: session.GetExpireTime(),
		Session: authn.ShowSession(ctx, session),
	}
}

// ReadSession returns a session of the caller that may act.
func (s *sessionService) ReadSession(
	ctx context.Context, req *gatehousev1.ReadSessionRequest,
) (*gatehousev1.ReadSessionResponse, error) {
	id, err := authn.ReadableSessionID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	caller, _ := authn.CallerFrom(ctx)
	if id == caller.SessionID {
		return authn.Introspect(ctx)
	}
	found, err := s.Storage.ReadSession(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierr.SessionNotFound()
	}
	if err != nil {
		return nil, apiError(err)
	}
	if found.User.ID != caller.UserID || found.CheckActive(s.Now()) != nil {
		return nil, apierr.SessionNotFound()
	}
	user, err := userResource(found.User)
	return &gatehousev1.ReadSessionResponse{
		Session: authn.ShowSession(ctx, sessionResource(found.Session)), User: user, Active: true,
		Sub: found.User.ID, TokenType: tokenType,
	}, err
}

// ListSessions lists the sessions of the caller that may act, newest first.
func (s *sessionService) ListSessions(
	ctx context.Context, req *gatehousev1.ListSessionsRequest,
) (*gatehousev1.ListSessionsResponse, error) {
	caller, ok := authn.CallerFrom(ctx)
	if !ok {
		return nil, apierr.AccessTokenMissing()
	}
	size := pageSize(req.GetPageSize())
	list := "sessions of " + caller.UserID
	before, err := s.Pages.Read(list, req.GetPageToken())
	if err != nil {
		return nil, apierr.PageTokenInvalid(err)
	}
	sessions, err := s.Storage.ListSessions(ctx, caller.UserID, s.Now(), before, size+1) // One more: is there a next page?
	if err != nil {
		return nil, apiError(err)
	}
	response := &gatehousev1.ListSessionsResponse{}
	if len(sessions) > size {
		sessions = sessions[:size]
		response.NextPageToken = s.Pages.Make(list, sessions[size-1].ID)
	}
	for _, session := range sessions {
		resource := sessionResource(session)
		resource.Current = session.ID == caller.SessionID
		response.Sessions = append(response.Sessions, authn.ShowSession(ctx, resource))
	}
	return response, nil
}

// DeleteSession logs out of one of the caller's sessions.
func (s *sessionService) DeleteSession(
	ctx context.Context, req *gatehousev1.DeleteSessionRequest,
) (*gatehousev1.DeleteSessionResponse, error) {
	id, err := authn.ReadableSessionID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	caller, _ := authn.CallerFrom(ctx)
	err = s.Storage.EndSession(ctx, caller.UserID, id, s.Now())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierr.SessionNotFound()
	}
	if err != nil {
		return nil, apiError(err)
	}
	return &gatehousev1.DeleteSessionResponse{}, nil
}

// DeleteAllSessions logs the caller out everywhere.
func (s *sessionService) DeleteAllSessions(
	ctx context.Context, req *gatehousev1.DeleteAllSessionsRequest,
) (*gatehousev1.DeleteAllSessionsResponse, error) {
	caller, ok := authn.CallerFrom(ctx)
	if !ok {
		return nil, apierr.AccessTokenMissing()
	}
	loginCaller := login.Caller{UserID: caller.UserID, SessionID: caller.SessionID}
	if !req.GetKeepCurrent() {
		user, err := s.Login.EndAll(ctx, loginCaller)
		if err != nil {
			return nil, apiError(err)
		}
		resource, err := userResource(user)
		return &gatehousev1.DeleteAllSessionsResponse{User: resource}, err
	}
	// An access token alone must not become a session that can be refreshed: a thief of one would take the account over
	// and log its owner out. After a recent log-in the token is as good as one, as for the deletion of the account.
	refreshable := authn.CheckRecentLogin(ctx, s.Now()) == nil
	expire := caller.ExpireTime
	if refreshable {
		expire = time.Time{}
	}
	own, _ := authn.AccountFrom(ctx)
	// The caller has proved no password, so that the session is as old as before.
	user, issued, err := s.Login.ReplaceAll(ctx, loginCaller, own.Session.GetCreateTime().AsTime(), expire)
	if err != nil {
		return nil, apiError(err)
	}
	if !refreshable {
		issued.RefreshToken = ""
	}
	resource, err := userResource(user)
	tokens := tokensOf(ctx, issued)
	return &gatehousev1.DeleteAllSessionsResponse{
		User: resource, Session: tokens.GetSession(), AccessToken: tokens.GetAccessToken(),
		TokenType: tokens.GetTokenType(), ExpiresIn: tokens.GetExpiresIn(), SessionId: tokens.GetSessionId(),
		RefreshToken: tokens.GetRefreshToken(), ExpireTime: tokens.GetExpireTime(),
	}, err
}

// ChangePassword replaces the caller's password, ends all sessions, and opens a new one.
func (s *sessionService) ChangePassword(
	ctx context.Context, req *gatehousev1.ChangePasswordRequest,
) (*gatehousev1.ChangePasswordResponse, error) {
	if _, err := authn.OwnUserID(ctx, req.GetId()); err != nil {
		return nil, err
	}
	own, _ := authn.AccountFrom(ctx) // Admission has just read it.
	names := password.Account{Email: own.User.GetEmail(), FullName: own.User.GetFullName()}
	if err := checkNewPassword(s.Passwords, req.GetNewPassword(), names); err != nil {
		return nil, err
	}
	caller, _ := authn.CallerFrom(ctx)
	user, issued, err := s.Login.ChangePassword(ctx,
		login.Caller{UserID: caller.UserID, SessionID: caller.SessionID}, req.GetCurrentPassword(), req.GetNewPassword())
	if err != nil {
		return nil, apiError(err)
	}
	resource, err := userResource(user)
	tokens := tokensOf(ctx, issued)
	return &gatehousev1.ChangePasswordResponse{
		User: resource, Session: tokens.GetSession(), AccessToken: tokens.GetAccessToken(),
		TokenType: tokens.GetTokenType(), ExpiresIn: tokens.GetExpiresIn(), SessionId: tokens.GetSessionId(),
		RefreshToken: tokens.GetRefreshToken(), ExpireTime: tokens.GetExpireTime(),
	}, err
}

// checkNewPassword returns INVALID_FIELDS unless a password can be chosen for an account. The field of the request is
// new_password.
func checkNewPassword(policy *password.Policy, secret string, names password.Account) error {
	violation := policy.Check(secret, names)
	if violation == nil {
		return nil
	}
	violation.Field = "new_password"
	return invalidFields(*violation)
}
