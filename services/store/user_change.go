package store

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// UpdateUser changes a profile.
func (s *userService) UpdateUser(
	_ context.Context, _ *gatehousev1.UpdateUserRequest,
) (*gatehousev1.UpdateUserResponse, error) {
	return nil, apierr.RouteNotFound("not yet")
}

// DeleteUser deletes an account.
func (s *userService) DeleteUser(
	_ context.Context, _ *gatehousev1.DeleteUserRequest,
) (*gatehousev1.DeleteUserResponse, error) {
	return nil, apierr.RouteNotFound("not yet")
}
