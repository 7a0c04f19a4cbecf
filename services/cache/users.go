package cache

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// flightTimeout bounds a read of the store that several callers wait for, none of whom can cancel it.
const flightTimeout = 5 * time.Second

// users is the UserService of the store with a cache before it. It embeds Unsafe…, not Unimplemented…: a method that
// the contract gains must not be answered here by chance, so leaving it out does not compile.
type users struct {
	gatehousev1.UnsafeUserServiceServer

	store   gatehousev1.UserServiceClient
	entries *entries
	flights singleflight.Group // by user id
}

// CreateUser passes the call on and keeps the user whom the store has made.
func (u *users) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	response, err := u.store.CreateUser(ctx, req)
	if err != nil {
		return nil, err
	}
	u.entries.keep(ctx, response.GetUser())
	return response, nil
}

// ReadUser answers from the cache, and else from the store.
func (u *users) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	id, err := authn.ReadableUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if user, ok := u.entries.user(ctx, id); ok {
		return &gatehousev1.ReadUserResponse{User: user}, nil
	}
	return u.fly(ctx, id)
}

// fly reads a user for everybody who misses the same one at the same time, once. All of them are the same user, but
// each with a token of their own, and the flight carries the token of whoever began it: that the store does not take
// that one says nothing about the others.
func (u *users) fly(ctx context.Context, id string) (*gatehousev1.ReadUserResponse, error) {
	began := false
	landed := u.flights.DoChan(id, func() (any, error) {
		began = true
		return u.flight(ctx, id)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-landed:
		if !began && status.Code(result.Err) == codes.Unauthenticated {
			return u.readStore(ctx, id)
		}
		response, _ := result.Val.(*gatehousev1.ReadUserResponse)
		return response, result.Err
	}
}

// flight goes on when the caller who began it gives up.
func (u *users) flight(ctx context.Context, id string) (_ *gatehousev1.ReadUserResponse, err error) {
	defer grpcx.Recover(&err) // It runs in a goroutine of its own, where a panic would end the process.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
	defer cancel()
	// Once more, because a flight may have landed between this caller's miss and now.
	if user, ok := u.entries.user(ctx, id); ok {
		return &gatehousev1.ReadUserResponse{User: user}, nil
	}
	return u.readStore(ctx, id)
}

// readStore reads a user from the store and keeps it.
func (u *users) readStore(ctx context.Context, id string) (*gatehousev1.ReadUserResponse, error) {
	response, err := u.store.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: id})
	if err != nil {
		return nil, err
	}
	if response.GetUser().GetId() == id {
		u.entries.keep(ctx, response.GetUser())
	}
	return response, nil
}
