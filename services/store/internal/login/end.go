package login

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// Caller is the user who makes a call, and the session that the call is made with.
type Caller struct{ UserID, SessionID string }

// EndAll ends all sessions of the caller, and returns the user. It fails with an account.SessionEndedError.
func (s *Service) EndAll(ctx context.Context, caller Caller) (account.User, error) {
	found, err := s.Storage.EndAllSessions(ctx, caller.UserID, storage.Replacement{}, s.Now())
	return found.User, endError(err, caller)
}

// ReplaceAll ends all sessions of the caller, and opens one instead, which is as old as a log-in at the time created
// and expires at a time at the latest, unless that is zero. It fails with an account.SessionEndedError.
func (s *Service) ReplaceAll(
	ctx context.Context, caller Caller, created, expire time.Time,
) (account.User, Issued, error) {
	replacement, err := s.replacement(ctx, caller, created)
	if err != nil {
		return account.User{}, Issued{}, err
	}
	if !expire.IsZero() && expire.Before(replacement.New.ExpireTime) {
		replacement.New.ExpireTime = expire
	}
	found, err := s.Storage.EndAllSessions(ctx, caller.UserID, replacement, s.Now())
	if err != nil {
		return account.User{}, Issued{}, endError(err, caller)
	}
	issued, err := s.issue(ctx, found.Session, found.User.Admin)
	return found.User, issued, err
}

// replacement returns the session that replaces the caller's, so that none of its tokens remains valid: another
// party may have them. It is as old as a log-in at the time created.
func (s *Service) replacement(
	ctx context.Context, caller Caller, created time.Time,
) (storage.Replacement, error) {
	session, err := s.newSession(ctx, account.Credential{UserID: caller.UserID})
	session.CreateTime, session.ExpireTime = created, s.Lifetimes.expiry(created, session.LastUseTime)
	return storage.Replacement{Old: caller.SessionID, New: session}, err
}

// ChangePassword replaces the caller's password, ends all sessions, and opens a new one for the caller. It fails with
// PasswordWrong, which it records in the audit, and with an account.SessionEndedError.
func (s *Service) ChangePassword(
	ctx context.Context, caller Caller, current, next string,
) (account.User, Issued, error) {
	newHash := ""
	replacement, err := s.replacement(ctx, caller, s.Now())
	if err != nil {
		return account.User{}, Issued{}, err
	}
	for range maxAttempts {
		oldHash, err := s.checkPassword(ctx, caller, current)
		if err == nil && newHash == "" {
			newHash, err = s.Hasher.Hash(ctx, next)
		}
		if err != nil {
			return account.User{}, Issued{}, err
		}
		found, err := s.Storage.ChangePassword(ctx, caller.UserID, oldHash, newHash, replacement, s.Now())
		if errors.Is(err, storage.ErrNotFound) {
			continue // There is another hash by now: of another password, or of the same one, rehashed by a log-in.
		}
		if err != nil {
			return account.User{}, Issued{}, endError(err, caller)
		}
		issued, err := s.issue(ctx, found.Session, found.User.Admin)
		return found.User, issued, err
	}
	return account.User{}, Issued{}, conflictError("the password's hash was replaced again and again during its change")
}

// checkPassword returns the hash of the caller's password, if it is the current one.
func (s *Service) checkPassword(ctx context.Context, caller Caller, current string) (hash string, err error) {
	credential, err := s.Storage.ReadCredentialOf(ctx, caller.UserID)
	if err != nil {
		return "", endError(err, caller)
	}
	matches, err := s.Hasher.Verify(ctx, credential.PasswordHash, current)
	if err != nil || matches {
		return credential.PasswordHash, err
	}
	return "", s.recordFailure(ctx, storage.PasswordChanged, caller.UserID, PasswordWrong)
}

// endError returns the error of a call whose own session has ended since the call was admitted, individually or with
// the account, or any other error.
func endError(err error, caller Caller) error {
	if errors.Is(err, storage.ErrSessionEnded) || errors.Is(err, storage.ErrNotFound) {
		return &account.SessionEndedError{SessionID: caller.SessionID, UserID: caller.UserID}
	}
	return err
}
