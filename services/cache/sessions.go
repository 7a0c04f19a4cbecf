package cache

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// commitTimeout bounds a change at the store, which goes on when its caller gives up: what the store has committed has
// to reach the cache, whoever still waits for it.
const commitTimeout = 10 * time.Second

// sessions is the SessionService of the store with a cache before it. Passwords and tokens pass through it and are
// never kept.
type sessions struct {
	gatehousev1.UnsafeSessionServiceServer

	store   gatehousev1.SessionServiceClient
	entries *entries
}

// CreateSession passes the call on and keeps the session.
func (s *sessions) CreateSession(
	ctx context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	lease := s.entries.ask()
	response, err := s.store.CreateSession(ctx, req)
	if err != nil {
		return nil, err
	}
	s.entries.fill(ctx, lease, nil, kept(response.GetSession()))
	return response, nil
}

// RefreshSession passes the call on and keeps the session.
func (s *sessions) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	lease := s.entries.ask()
	commit, cancel := uncut(ctx)
	defer cancel()
	response, err := s.store.RefreshSession(commit, req)
	if err != nil {
		return nil, err // Whose session it is, the token alone knows; the witness hears of one that has ended.
	}
	s.entries.change(ctx, lease, nil, kept(response.GetSession()))
	return response, nil
}

// ReadSession answers about the session of the call with what the caller was admitted by, and passes on what is about
// others.
func (s *sessions) ReadSession(
	ctx context.Context, req *gatehousev1.ReadSessionRequest,
) (*gatehousev1.ReadSessionResponse, error) {
	id, caller, err := named(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if id == caller.SessionID {
		return authn.Introspect(ctx)
	}
	return s.store.ReadSession(ctx, req)
}

// ListSessions passes the call on.
func (s *sessions) ListSessions(
	ctx context.Context, req *gatehousev1.ListSessionsRequest,
) (*gatehousev1.ListSessionsResponse, error) {
	return s.store.ListSessions(ctx, req)
}

// DeleteSession passes the call on and keeps it that the session has ended.
func (s *sessions) DeleteSession(
	ctx context.Context, req *gatehousev1.DeleteSessionRequest,
) (*gatehousev1.DeleteSessionResponse, error) {
	id, caller, err := named(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	commit, cancel := uncut(ctx)
	defer cancel()
	response, err := s.store.DeleteSession(commit, req)
	if err != nil {
		s.failed(ctx, err, caller.UserID, id)
		return nil, err
	}
	s.entries.end(ctx, lease{}, caller.UserID, id, nil)
	return response, nil
}

// DeleteAllSessions passes the call on and keeps the user, whose older sessions have ended with the change, and what
// became of the session of the call.
func (s *sessions) DeleteAllSessions(
	ctx context.Context, req *gatehousev1.DeleteAllSessionsRequest,
) (*gatehousev1.DeleteAllSessionsResponse, error) {
	id, caller, err := named(ctx, authn.Current)
	if err != nil {
		return nil, err
	}
	lease := s.entries.ask()
	commit, cancel := uncut(ctx)
	defer cancel()
	response, err := s.store.DeleteAllSessions(commit, req)
	if err != nil {
		s.failed(ctx, err, caller.UserID, id)
		return nil, err
	}
	if spared := response.GetSession(); spared != nil {
		s.entries.change(ctx, lease, response.GetUser(), kept(spared))
	} else {
		s.entries.end(ctx, lease, caller.UserID, id, response.GetUser())
	}
	return response, nil
}

// ChangePassword passes the call on and keeps the user, whose older sessions have ended with the change, and the
// session of the call, which has not.
func (s *sessions) ChangePassword(
	ctx context.Context, req *gatehousev1.ChangePasswordRequest,
) (*gatehousev1.ChangePasswordResponse, error) {
	id, caller, err := named(ctx, authn.Current)
	if err != nil {
		return nil, err
	}
	lease := s.entries.ask()
	commit, cancel := uncut(ctx)
	defer cancel()
	response, err := s.store.ChangePassword(commit, req)
	if err != nil {
		s.failed(ctx, err, caller.UserID, id)
		return nil, err
	}
	s.entries.change(ctx, lease, response.GetUser(), kept(response.GetSession()))
	return response, nil
}

// failed forgets what a change that failed may have changed all the same: the store can have committed it and its
// answer be lost.
func (s *sessions) failed(ctx context.Context, err error, userID, sessionID string) {
	switch apierr.Status(err).Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.Aborted:
		s.entries.doubt(ctx, userID, sessionID)
	default: // The store has said no.
	}
	switch apierr.ReasonOf(apierr.Status(err)) {
	case gatehousev1.ErrorReason_ERROR_REASON_PASSWORD_WRONG, gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED:
		// That may be so since a change which this call repeats, as its cache service died before it could tell.
		s.entries.mistrust(ctx, userID)
	default:
	}
}

// named gives the id of the session that a request names, and the caller.
func named(ctx context.Context, id string) (string, authn.Caller, error) {
	id, err := authn.ReadableSessionID(ctx, id)
	caller, _ := authn.CallerFrom(ctx) // There is one if there is no error.
	return id, caller, err
}

// kept is the session as it is kept: without what is true only of the call that it is an answer to.
func kept(session *gatehousev1.Session) *gatehousev1.Session {
	if !session.GetCurrent() {
		return session
	}
	session = proto.CloneOf(session)
	session.Current = false
	return session
}

func uncut(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
}
