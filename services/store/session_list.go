package store

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// defaultPageSize is the size of a page where none is asked for.
const defaultPageSize = 20

// ListSessions lists the sessions of the caller that stand, newest first.
func (s *sessionService) ListSessions(
	ctx context.Context, req *gatehousev1.ListSessionsRequest,
) (*gatehousev1.ListSessionsResponse, error) {
	caller, ok := authn.CallerFrom(ctx)
	if !ok {
		return nil, apierr.AccessTokenMissing()
	}
	size := pageSize(req.GetPageSize())
	list := "sessions of " + caller.UserID
	before, err := s.pages.read(list, req.GetPageToken())
	if err != nil {
		return nil, apierr.PageTokenInvalid(err)
	}
	sessions, err := s.storage.ListSessions(ctx, caller.UserID, s.now(), before, size+1) // One more: is there a next page?
	if err != nil {
		return nil, translate(err)
	}
	response := &gatehousev1.ListSessionsResponse{}
	if len(sessions) > size {
		sessions = sessions[:size]
		response.NextPageToken = s.pages.make(list, sessions[size-1].ID)
	}
	for _, session := range sessions {
		resource := sessionResource(session)
		resource.Current = session.ID == caller.SessionID
		response.Sessions = append(response.Sessions, authn.ShowSession(ctx, resource))
	}
	return response, nil
}
