package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// userService implements gatehouse.v1.UserService on the database.
type userService struct {
	gatehousev1.UnsafeUserServiceServer

	storage *storage.Storage
	hasher  *password.Hasher
}

// CreateUser signs up.
func (s *userService) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	if password.TooShort(req.GetPassword()) {
		return nil, passwordTooShort()
	}
	hash, err := s.hasher.Hash(ctx, req.GetPassword())
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond) // As exact as the database keeps it.
	user := storage.User{
		ID: id.String(), Email: storage.DisplayEmail(req.GetEmail()), FullName: req.GetFullName(),
		CreateTime: now, UpdateTime: now, Version: 1,
	}
	err = s.storage.CreateUser(ctx, user, hash)
	if errors.Is(err, storage.ErrEmailTaken) {
		return nil, apierr.EmailTaken()
	}
	if err != nil {
		return nil, translate(err)
	}
	return &gatehousev1.CreateUserResponse{User: resource(user)}, nil
}

// ReadUser reads a profile.
func (s *userService) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	id, err := authn.ReadableUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	user, err := s.storage.ReadUser(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierr.UserNotFound()
	}
	if err != nil {
		return nil, translate(err)
	}
	return &gatehousev1.ReadUserResponse{User: resource(user)}, nil
}

// passwordTooShort is what the rule of the contract says of a password that is too short as it stands.
func passwordTooShort() error {
	return apierr.InvalidFields([]*errdetails.BadRequest_FieldViolation{{
		Field: "password", Reason: "STRING_MIN_BYTES",
		Description: fmt.Sprintf("must be at least %d bytes, in Unicode normal form KC too", password.MinLength),
	}})
}

func resource(user storage.User) *gatehousev1.User {
	return &gatehousev1.User{
		Id: user.ID, Email: user.Email, FullName: user.FullName,
		CreateTime: timestamppb.New(user.CreateTime), UpdateTime: timestamppb.New(user.UpdateTime),
		Version: user.Version,
	}
}

// translate gives a storage error its place in the contract. What it does not know is INTERNAL.
func translate(err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return apierr.Unavailable(err)
	}
	return err
}
