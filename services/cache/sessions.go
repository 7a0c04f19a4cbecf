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
