package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

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
	pages   *pageTokens
	now     func() time.Time
}

// CreateUser signs up.
func (s *userService) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	if password.TooShort(req.GetPassword()) {
		return nil, passwordTooShort("password")
	}
	hash, err := s.hasher.Hash(ctx, req.GetPassword())
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Microsecond) // As exact as the database keeps it.
	user := storage.User{
		ID: id.String(), Email: storage.DisplayEmail(req.GetEmail()), FullName: req.GetFullName(),
		CreateTime: now, UpdateTime: now, Version: 1, State: storage.Active,
	}
	err = s.storage.CreateUser(ctx, user, hash)
	if errors.Is(err, storage.ErrEmailTaken) {
		return nil, apierr.EmailTaken()
	}
	if err != nil {
		return nil, translate(err)
	}
	resource, err := userResource(user)
	return &gatehousev1.CreateUserResponse{User: resource}, err
}

// ReadUser reads a profile.
func (s *userService) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	if _, err := authn.OwnUserID(ctx, req.GetId()); err != nil {
		return nil, err
	}
	account, _ := authn.AccountFrom(ctx) // Admission has just read it.
	return &gatehousev1.ReadUserResponse{User: account.User}, nil
}

// passwordTooShort is what the rule of the contract says of a password that is too short as it stands.
func passwordTooShort(field string) error {
	return apierr.InvalidFields([]*errdetails.BadRequest_FieldViolation{{
		Field: field, Reason: "STRING_MIN_BYTES",
		Description: fmt.Sprintf("must be at least %d bytes, in Unicode normal form KC too", password.MinLength),
	}})
}
