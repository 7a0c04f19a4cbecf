package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// userService implements gatehouse.v1.UserService.
type userService struct {
	gatehousev1.UnsafeUserServiceServer
	Config
}

// CreateUser signs up.
func (s *userService) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	if err := s.checkSignUp(req); err != nil {
		return nil, err
	}
	if req.GetRequestId() != "" {
		return s.createUserOnce(ctx, req)
	}
	hash, err := s.Hasher.Hash(ctx, req.GetPassword())
	if err != nil {
		return nil, apiError(err)
	}
	user, err := s.newUser(req)
	if err != nil {
		return nil, err
	}
	return createUserResponse(user, s.Storage.CreateUser(ctx, user, hash))
}

// newUser returns the user of a sign-up, not stored yet.
func (s *userService) newUser(req *gatehousev1.CreateUserRequest) (account.User, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return account.User{}, err
	}
	now := s.Now().UTC().Truncate(time.Microsecond) // As exact as the database stores it.
	return signUpUser(req, id.String(), now), nil
}

// signUpUser returns the user that a sign-up creates.
func signUpUser(req *gatehousev1.CreateUserRequest, id string, at time.Time) account.User {
	return account.User{
		ID: id, Email: emailaddr.Display(req.GetEmail()), FullName: account.DisplayName(req.GetFullName()),
		CreateTime: at, UpdateTime: at, Version: 1, State: account.Active,
	}
}

// createUserResponse returns the response to a sign-up.
func createUserResponse(user account.User, err error) (*gatehousev1.CreateUserResponse, error) {
	if errors.Is(err, storage.ErrEmailTaken) {
		return nil, apierr.EmailTaken()
	}
	if err != nil {
		return nil, apiError(err)
	}
	resource, err := userResource(user)
	return &gatehousev1.CreateUserResponse{User: resource}, err
}

// ReadUser reads a profile.
func (s *userService) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	id, err := authn.ManagedUserID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if !authn.IsAdmin(ctx) {
		own, _ := authn.AccountFrom(ctx) // Admission has just read it.
		return &gatehousev1.ReadUserResponse{User: own.User}, nil
	}
	user, err := s.Storage.ReadUser(ctx, id)
	if err != nil {
		return nil, userError(err)
	}
	resource, err := fullUserResource(user)
	return &gatehousev1.ReadUserResponse{User: resource}, err
}

// checkSignUp returns INVALID_FIELDS, for every field that breaks a rule which the contract cannot express.
func (s *userService) checkSignUp(req *gatehousev1.CreateUserRequest) error {
	var found []field.Violation
	if violation := emailaddr.Check(req.GetEmail()); violation != nil {
		found = append(found, *violation)
	}
	names := password.Account{Email: req.GetEmail(), FullName: req.GetFullName()}
	if violation := s.Passwords.Check(req.GetPassword(), names); violation != nil {
		found = append(found, *violation)
	}
	return invalidFields(found...)
}
