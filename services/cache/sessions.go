package cache

import (
	"context"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
)

// sessions is the SessionService of the store with a cache before it. Passwords and tokens are never cached.
type sessions struct {
	gatehousev1.UnsafeSessionServiceServer

	store   gatehousev1.SessionServiceClient
	entries *coherence.Entries
}

// CreateSession passes the call on and caches the session.
func (s *sessions) CreateSession(
	ctx context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	lease := s.entries.AcquireLease()
	response, err := s.store.CreateSession(ctx, req)
	if err != nil {
		return nil, err
	}
	s.entries.Fill(ctx, lease, nil, withoutCurrent(response.GetSession()))
	response.Session = authn.ShowSession(ctx, response.GetSession())
	return response, nil
}

// RefreshSession passes the call on and caches the session. If the call fails, only the token would tell the session;
// invalidatingConn handles the error of one that has ended.
func (s *sessions) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	return commit(ctx, s.entries, subject{}, s.store.RefreshSession, req,
		func(lease coherence.Lease, response *gatehousev1.RefreshSessionResponse) {
			s.entries.Change(ctx, lease, nil, withoutCurrent(response.GetSession()))
			response.Session = authn.ShowSession(ctx, response.GetSession())
		})
}

// ReadSession returns the session of the caller from its admission, and passes calls about other sessions on.
func (s *sessions) ReadSession(
	ctx context.Context, req *gatehousev1.ReadSessionRequest,
) (*gatehousev1.ReadSessionResponse, error) {
	id, caller, err := resolveSession(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if id == caller.SessionID {
		return authn.Introspect(ctx)
	}
	response, err := s.store.ReadSession(ctx, req)
	if err != nil {
		return nil, err
	}
	response.Session = authn.ShowSession(ctx, response.GetSession())
	return response, nil
}

// ListSessions passes the call on.
func (s *sessions) ListSessions(
	ctx context.Context, req *gatehousev1.ListSessionsRequest,
) (*gatehousev1.ListSessionsResponse, error) {
	response, err := s.store.ListSessions(ctx, req)
	if err != nil {
		return nil, err
	}
	for i, session := range response.GetSessions() {
		response.Sessions[i] = authn.ShowSession(ctx, session)
	}
	return response, nil
}

// DeleteSession passes the call on and caches that the session has ended.
func (s *sessions) DeleteSession(
	ctx context.Context, req *gatehousev1.DeleteSessionRequest,
) (*gatehousev1.DeleteSessionResponse, error) {
	id, caller, err := resolveSession(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return commit(ctx, s.entries, subject{caller.UserID, id}, s.store.DeleteSession, req,
		func(coherence.Lease, *gatehousev1.DeleteSessionResponse) {
			s.entries.SessionEnded(ctx, caller.UserID, id)
		})
}

// DeleteAllSessions passes the call on, and caches the user, whose older sessions have ended with the change, the end
// of the caller's session, and its successor, if there is one.
func (s *sessions) DeleteAllSessions(
	ctx context.Context, req *gatehousev1.DeleteAllSessionsRequest,
) (*gatehousev1.DeleteAllSessionsResponse, error) {
	id, caller, err := resolveSession(ctx, authn.Current)
	if err != nil {
		return nil, err
	}
	return commit(ctx, s.entries, subject{caller.UserID, id}, s.store.DeleteAllSessions, req,
		func(lease coherence.Lease, response *gatehousev1.DeleteAllSessionsResponse) {
			s.entries.ReplaceSession(ctx, lease, caller.UserID, id, response.GetUser(), withoutCurrent(response.GetSession()))
			response.Session = authn.ShowSession(ctx, response.GetSession())
		})
}

// ChangePassword passes the call on, and caches the user, whose older sessions have ended with the change, the end of
// the caller's session, and its successor.
func (s *sessions) ChangePassword(
	ctx context.Context, req *gatehousev1.ChangePasswordRequest,
) (*gatehousev1.ChangePasswordResponse, error) {
	id, caller, err := resolveSession(ctx, authn.Current)
	if err != nil {
		return nil, err
	}
	return commit(ctx, s.entries, subject{caller.UserID, id}, s.store.ChangePassword, req,
		func(lease coherence.Lease, response *gatehousev1.ChangePasswordResponse) {
			s.entries.ReplaceSession(ctx, lease, caller.UserID, id, response.GetUser(), withoutCurrent(response.GetSession()))
			response.Session = authn.ShowSession(ctx, response.GetSession())
		})
}

// resolveSession returns the id of the session that a request names, and the caller.
func resolveSession(ctx context.Context, id string) (string, authn.Caller, error) {
	id, err := authn.ReadableSessionID(ctx, id)
	caller, _ := authn.CallerFrom(ctx) // Present unless there was an error.
	return id, caller, err
}

// withoutCurrent returns the session as it is cached, without the field that depends on the caller.
func withoutCurrent(session *gatehousev1.Session) *gatehousev1.Session {
	if !session.GetCurrent() {
		return session
	}
	session = proto.CloneOf(session)
	session.Current = false
	return session
}
