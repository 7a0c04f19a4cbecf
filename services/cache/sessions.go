package cache

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// sessions is the SessionService of the store. Passwords and tokens pass through it and are never kept.
type sessions struct {
	gatehousev1.UnsafeSessionServiceServer

	store gatehousev1.SessionServiceClient
}

// CreateSession passes the call on.
func (s *sessions) CreateSession(
	ctx context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	return s.store.CreateSession(ctx, req)
}

// RefreshSession passes the call on.
func (s *sessions) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	return s.store.RefreshSession(ctx, req)
}

// ReadSession passes the call on.
func (s *sessions) ReadSession(
	ctx context.Context, req *gatehousev1.ReadSessionRequest,
) (*gatehousev1.ReadSessionResponse, error) {
	return s.store.ReadSession(ctx, req)
}

// ListSessions passes the call on.
func (s *sessions) ListSessions(
	ctx context.Context, req *gatehousev1.ListSessionsRequest,
) (*gatehousev1.ListSessionsResponse, error) {
	return s.store.ListSessions(ctx, req)
}

// DeleteSession passes the call on.
func (s *sessions) DeleteSession(
	ctx context.Context, req *gatehousev1.DeleteSessionRequest,
) (*gatehousev1.DeleteSessionResponse, error) {
	return s.store.DeleteSession(ctx, req)
}

// DeleteAllSessions passes the call on.
func (s *sessions) DeleteAllSessions(
	ctx context.Context, req *gatehousev1.DeleteAllSessionsRequest,
) (*gatehousev1.DeleteAllSessionsResponse, error) {
	return s.store.DeleteAllSessions(ctx, req)
}

// ChangePassword passes the call on.
func (s *sessions) ChangePassword(
	ctx context.Context, req *gatehousev1.ChangePasswordRequest,
) (*gatehousev1.ChangePasswordResponse, error) {
	return s.store.ChangePassword(ctx, req)
}
