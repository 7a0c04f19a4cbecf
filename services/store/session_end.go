package store

import (
	"context"
	"errors"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
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
	var replacement storage.Replacement
	var err error
	// An access token alone must not become a session that can be refreshed: whoever has stolen one would keep the account
	// and log its owner out. After a recent log-in the token is as good as one, as for the deletion of the account.
	refreshable := authn.CheckRecentLogin(ctx, s.now()) == nil
	if req.GetKeepCurrent() {
		// No password was asked for: the session is as old as before.
		own, _ := authn.AccountFrom(ctx)
		if replacement, err = s.replacement(ctx, caller, own.Session.GetCreateTime().AsTime()); err != nil {
			return nil, err
		}
		if end := caller.ExpireTime; !refreshable && end.Before(replacement.New.ExpireTime) {
			replacement.New.ExpireTime = end
		}
	}
	current, err := s.storage.EndAllSessions(ctx, caller.UserID, replacement, s.now())
	if err != nil {
		return nil, endError(err, caller)
	}
	user, err := userResource(current.User)
	if err != nil || replacement.Old == "" {
		return &gatehousev1.DeleteAllSessionsResponse{User: user}, err
	}
	opened, err := s.answer(ctx, current.Session, current.User.Admin)
	if err != nil {
		return nil, err
	}
	if !refreshable {
		opened.RefreshToken = ""
	}
	return &gatehousev1.DeleteAllSessionsResponse{
		User: user, Session: opened.GetSession(), AccessToken: opened.GetAccessToken(), TokenType: opened.GetTokenType(),
		ExpiresIn: opened.GetExpiresIn(), SessionId: opened.GetSessionId(), RefreshToken: opened.GetRefreshToken(),
		ExpireTime: opened.GetExpireTime(),
	}, nil
}

// replacement returns the session that takes the place of the caller's, so that no token of it is good any more:
// somebody else may have them. It is as old as a log-in at the time created.
func (s *sessionService) replacement(
	ctx context.Context, caller authn.Caller, created time.Time,
) (storage.Replacement, error) {
	session, err := s.newSession(ctx, account.Credential{UserID: caller.UserID})
	session.CreateTime, session.ExpireTime = created, s.config.expiry(created, session.LastUseTime)
	return storage.Replacement{Old: caller.SessionID, New: session}, err
}

// ChangePassword replaces the caller's password, and ends all sessions. The caller gets a new one.
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
	replacement, err := s.replacement(ctx, caller, s.now())
	if err != nil {
		return nil, err
	}
	for range maxLogInAttempts {
		oldHash, err := s.checkPassword(ctx, caller, req.GetCurrentPassword())
		if err == nil && newHash == "" {
			newHash, err = s.hasher.Hash(ctx, req.GetNewPassword())
		}
		if err != nil {
			return nil, err
		}
		current, err := s.storage.ChangePassword(ctx, caller.UserID, oldHash, newHash, replacement, s.now())
		if errors.Is(err, storage.ErrNotFound) {
			continue // There is another hash by now: of another password, or of the same one, hashed anew by a log-in.
		}
		if err != nil {
			return nil, endError(err, caller)
		}
		return s.passwordChanged(ctx, current)
	}
	return nil, apierr.Unavailable(errors.New("the password's hash was replaced again and again during its change"))
}

func (s *sessionService) passwordChanged(
	ctx context.Context, current account.UserSession,
) (*gatehousev1.ChangePasswordResponse, error) {
	user, err := userResource(current.User)
	if err != nil {
		return nil, err
	}
	opened, err := s.answer(ctx, current.Session, current.User.Admin)
	if err != nil {
		return nil, err
	}
	return &gatehousev1.ChangePasswordResponse{
		User: user, Session: opened.GetSession(), AccessToken: opened.GetAccessToken(), TokenType: opened.GetTokenType(),
		ExpiresIn: opened.GetExpiresIn(), SessionId: opened.GetSessionId(), RefreshToken: opened.GetRefreshToken(),
		ExpireTime: opened.GetExpireTime(),
	}, nil
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

// refused returns the error of a refusal that follows the comparison of a password, once it is recorded. It is
// recorded even if the caller has left.
func (s *sessionService) refused(
	ctx context.Context, kind storage.EventKind, userID string, refusal *apierr.Error,
) error {
	reason := apierr.ReasonName(refusal.Reason())
	ctx, cancel := afterComparison(ctx)
	defer cancel()
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
