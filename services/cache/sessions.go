package cache

import (
	"context"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// sessions is the SessionService of the store with a cache before it. Passwords and tokens pass through it and are
// never kept.
type sessions struct {
	gatehousev1.UnsafeSessionServiceServer

	store   gatehousev1.SessionServiceClient
	entries *Entries
}

// CreateSession passes the call on and keeps the session.
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

// RefreshSession passes the call on and keeps the session. If it fails, nothing is known of whose session it is but by
// the token; the witness hears of one that has ended.
func (s *sessions) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	return commit(ctx, s.entries, subject{}, s.store.RefreshSession, req,
		func(lease Lease, response *gatehousev1.RefreshSessionResponse) {
			s.entries.Change(ctx, lease, nil, withoutCurrent(response.GetSession()))
			response.Session = authn.ShowSession(ctx, response.GetSession())
		})
}

// ReadSession answers about the session of the call with what the caller was admitted by, and passes on what is about
// others.
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

// DeleteSession passes the call on and keeps it that the session has ended.
func (s *sessions) DeleteSession(
	ctx context.Context, req *gatehousev1.DeleteSessionRequest,
) (*gatehousev1.DeleteSessionResponse, error) {
	id, caller, err := resolveSession(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return commit(ctx, s.entries, subject{caller.UserID, id}, s.store.DeleteSession, req,
		func(Lease, *gatehousev1.DeleteSessionResponse) {
			s.entries.SessionEnded(ctx, caller.UserID, id)
		})
}

// DeleteAllSessions passes the call on, and keeps the user, whose older sessions have ended with the change, and what
// became of the session of the call.
func (s *sessions) DeleteAllSessions(
	ctx context.Context, req *gatehousev1.DeleteAllSessionsRequest,
) (*gatehousev1.DeleteAllSessionsResponse, error) {
	id, caller, err := resolveSession(ctx, authn.Current)
	if err != nil {
		return nil, err
	}
	return commit(ctx, s.entries, subject{caller.UserID, id}, s.store.DeleteAllSessions, req,
		func(lease Lease, response *gatehousev1.DeleteAllSessionsResponse) {
			s.entries.ReplaceSession(ctx, lease, caller.UserID, id, response.GetUser(), withoutCurrent(response.GetSession()))
			response.Session = authn.ShowSession(ctx, response.GetSession())
		})
}

// ChangePassword passes the call on, and keeps the user, whose older sessions have ended with the change, that of the
// call among them, and the session that took its place.
func (s *sessions) ChangePassword(
	ctx context.Context, req *gatehousev1.ChangePasswordRequest,
) (*gatehousev1.ChangePasswordResponse, error) {
	id, caller, err := resolveSession(ctx, authn.Current)
	if err != nil {
		return nil, err
	}
	return commit(ctx, s.entries, subject{caller.UserID, id}, s.store.ChangePassword, req,
		func(lease Lease, response *gatehousev1.ChangePasswordResponse) {
			s.entries.ReplaceSession(ctx, lease, caller.UserID, id, response.GetUser(), withoutCurrent(response.GetSession()))
			response.Session = authn.ShowSession(ctx, response.GetSession())
		})
}

// named gives the id of the session that a request names, and the caller.
func resolveSession(ctx context.Context, id string) (string, authn.Caller, error) {
	id, err := authn.ReadableSessionID(ctx, id)
	caller, _ := authn.CallerFrom(ctx) // There is one if there is no error.
	return id, caller, err
}

// kept is the session as it is kept: without what is true only of the call that it is an answer to.
func withoutCurrent(session *gatehousev1.Session) *gatehousev1.Session {
	if !session.GetCurrent() {
		return session
	}
	session = proto.CloneOf(session)
	session.Current = false
	return session
}
