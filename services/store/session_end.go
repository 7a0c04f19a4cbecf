package store

import (
	"context"
	"errors"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// DeleteSession logs out of one of the caller's sessions.
func (s *sessionService) DeleteSession(
	ctx context.Context, req *gatehousev1.DeleteSessionRequest,
) (*gatehousev1.DeleteSessionResponse, error) {
	id, err := authn.ReadableSessionID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	caller, _ := authn.CallerFrom(ctx)
	err = s.storage.EndSession(ctx, caller.UserID, id, s.now())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierr.SessionNotFound()
	}
	if err != nil {
		return nil, translate(err)
	}
	return &gatehousev1.DeleteSessionResponse{}, nil
}

// DeleteAllSessions logs the caller out everywhere.
func (s *sessionService) DeleteAllSessions(
	ctx context.Context, req *gatehousev1.DeleteAllSessionsRequest,
) (*gatehousev1.DeleteAllSessionsResponse, error) {
	caller, ok := authn.CallerFrom(ctx)
	if !ok {
		return nil, apierr.AccessTokenMissing()
	}
	spare := ""
	if req.GetKeepCurrent() {
		spare = caller.SessionID
	}
	account, err := s.storage.EndAllSessions(ctx, caller.UserID, spare, s.now())
	if err != nil {
		return nil, endError(err, caller)
	}
	user, err := userResource(account.User)
	response := &gatehousev1.DeleteAllSessionsResponse{User: user}
	if spare != "" {
		response.Session = sessionResource(account.Session)
		response.Session.Current = true
	}
	return response, err
}

// ChangePassword replaces the caller's password and ends all other sessions.
func (s *sessionService) ChangePassword(
	ctx context.Context, req *gatehousev1.ChangePasswordRequest,
) (*gatehousev1.ChangePasswordResponse, error) {
	if _, err := authn.OwnUserID(ctx, req.GetId()); err != nil {
		return nil, err
	}
	own, _ := authn.AccountFrom(ctx) // Admission has just read it.
	words := password.Account{Email: own.User.GetEmail(), FullName: own.User.GetFullName()}
	if err := checkNewPassword(s.passwords, "new_password", req.GetNewPassword(), words); err != nil {
		return nil, err
	}
	caller, _ := authn.CallerFrom(ctx)
	newHash := ""
	for range maxLogInAttempts {
		oldHash, err := s.checkPassword(ctx, caller, req.GetCurrentPassword())
		if err == nil && newHash == "" {
			newHash, err = s.hasher.Hash(ctx, req.GetNewPassword())
		}
		if err != nil {
			return nil, err
		}
		account, err := s.storage.ChangePassword(ctx, caller.UserID, oldHash, newHash, caller.SessionID, s.now())
		if errors.Is(err, storage.ErrNotFound) {
			continue // There is another hash by now: of another password, or of the same one, hashed anew by a log-in.
		}
		if err != nil {
			return nil, endError(err, caller)
		}
		return passwordChanged(account)
	}
	return nil, apierr.Unavailable(errors.New("the password's hash was replaced again and again during its change"))
}

func passwordChanged(account storage.Account) (*gatehousev1.ChangePasswordResponse, error) {
	session := sessionResource(account.Session)
	session.Current = true
	user, err := userResource(account.User)
	return &gatehousev1.ChangePasswordResponse{User: user, Session: session}, err
}

// checkPassword wants the caller's present password, and gives its hash.
func (s *sessionService) checkPassword(
	ctx context.Context, caller authn.Caller, present string,
) (hash string, err error) {
	credential, err := s.storage.ReadCredentialOf(ctx, caller.UserID)
	if err != nil {
		return "", endError(err, caller)
	}
	matches, err := s.hasher.Verify(ctx, credential.PasswordHash, present)
	if err != nil || matches {
		return credential.PasswordHash, err
	}
	return "", s.refused(ctx, storage.PasswordChanged, caller.UserID, apierr.PasswordWrong())
}

// refused gives the error of what is refused, once that is recorded.
func (s *sessionService) refused(
	ctx context.Context, kind storage.EventKind, userID string, refusal *apierr.Error,
) error {
	reason := apierr.ReasonName(refusal.Reason())
	if err := s.storage.RecordFailure(ctx, kind, userID, reason, s.now()); err != nil {
		return translate(err)
	}
	return refusal
}

// endError is that of a call which found its own session ended since it was admitted, by itself or with the account, or
// any other.
func endError(err error, caller authn.Caller) error {
	if errors.Is(err, storage.ErrSessionEnded) || errors.Is(err, storage.ErrNotFound) {
		return apierr.SessionEnded(caller.SessionID, caller.UserID)
	}
	return translate(err)
}
