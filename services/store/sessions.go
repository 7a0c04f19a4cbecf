package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// tokenType is how an access token is presented (RFC 6750).
const tokenType = "Bearer"

// sessionService implements gatehouse.v1.SessionService on the database.
type sessionService struct {
	gatehousev1.UnimplementedSessionServiceServer

	storage *storage.Storage
	hasher  *password.Hasher
	keyring *signing.Keyring
}

// CreateSession logs in.
func (s *sessionService) CreateSession(
	ctx context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	userID, err := s.authenticate(ctx, req.GetEmail(), req.GetPassword())
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	err = s.storage.CreateSession(ctx, storage.Session{ID: id.String(), UserID: userID, CreateTime: now})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierr.InvalidCredentials() // The account went away since its password was read.
	}
	if err != nil {
		return nil, translate(err)
	}
	token, err := s.keyring.Mint(userID, id.String(), now)
	if err != nil {
		return nil, err
	}
	return &gatehousev1.CreateSessionResponse{
		AccessToken: token.Signed, TokenType: tokenType, ExpiresIn: int32(token.Lifetime / time.Second), //nolint:gosec // ≤ 1 day
		SessionId: id.String(),
	}, nil
}

// authenticate tells whose address and password these are. An unknown address costs the same hash and gets the same
// answer as a wrong password, so that nobody can find out which addresses have accounts.
func (s *sessionService) authenticate(ctx context.Context, email, password string) (userID string, err error) {
	userID, hash, err := s.storage.ReadCredential(ctx, email)
	if errors.Is(err, storage.ErrNotFound) {
		if err := s.hasher.VerifyNothing(ctx, password); err != nil {
			return "", err
		}
		return "", apierr.InvalidCredentials()
	}
	if err != nil {
		return "", translate(err)
	}
	matches, err := s.hasher.Verify(ctx, hash, password)
	if err != nil {
		return "", err
	}
	if !matches {
		return "", apierr.InvalidCredentials()
	}
	return userID, nil
}
