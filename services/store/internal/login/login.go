// Package login authenticates users, opens, refreshes and ends their sessions, and issues the tokens of these. It uses
// neither protobuf nor the errors of the API: it returns errors of its own, which package rpc translates.
package login

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// Service logs users in and out. It needs all its fields, and is then safe for concurrent use.
type Service struct {
	Storage   *storage.Storage
	Hasher    *password.Hasher
	Keyring   *signing.Keyring
	Tokens    *refresh.Tokens
	Lifetimes Lifetimes
	Claims    AppClaims
	Now       func() time.Time
	Log       *slog.Logger

	tooCostly sync.Once // to log that there is a hash which this process cannot verify
}

// Issued is a session and the tokens that were issued for it.
type Issued struct {
	Session      account.Session
	Access       signing.Token
	RefreshToken string
}

// maxAttempts bounds how often a call begins again because the password was changed while it was verified.
const maxAttempts = 3

// LogIn opens a session for the user who has an address and a password. It fails with InvalidCredentials and
// UserDisabled, which it records in the audit.
func (s *Service) LogIn(ctx context.Context, email, password string) (Issued, error) {
	for range maxAttempts {
		credential, err := s.authenticate(ctx, email, password)
		if err != nil {
			return Issued{}, err
		}
		session, err := s.newSession(ctx, credential)
		if err != nil {
			return Issued{}, err
		}
		err = s.Storage.CreateSession(ctx, session)
		if errors.Is(err, storage.ErrStaleGeneration) {
			continue // The password may be another one by now, or the account deleted.
		}
		if err != nil {
			return Issued{}, err
		}
		return s.issue(ctx, session, credential.Admin)
	}
	return Issued{}, conflictError("all sessions of the user ended again and again during a log-in")
}

// newSession returns a session that is not stored yet.
func (s *Service) newSession(ctx context.Context, credential account.Credential) (account.Session, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return account.Session{}, err
	}
	now := s.Now().UTC().Truncate(time.Microsecond) // As exact as the database stores it.
	client := callctx.ClientFrom(ctx)
	return account.Session{
		ID: id.String(), UserID: credential.UserID, Generation: credential.SessionGeneration, Version: 1,
		CreateTime: now, LastUseTime: now, ExpireTime: s.Lifetimes.expiry(now, now),
		UserAgent: client.UserAgent, ClientAddress: client.Address, Lineage: refresh.NewLineage(now),
	}, nil
}

// authenticate returns the credential of the user who has an address and a password. An unknown address costs the same
// hash and the same event as a wrong password, and gets the same answer, so that nobody can find out which addresses
// have accounts. A log-in for which no hash can be computed is rejected before the database is read, so that a
// flood does not slow down other calls.
func (s *Service) authenticate(ctx context.Context, email, password string) (account.Credential, error) {
	if err := s.Hasher.Admit(ctx); err != nil {
		return account.Credential{}, err
	}
	credential, err := s.Storage.ReadCredential(ctx, email)
	matches := false
	switch {
	case errors.Is(err, storage.ErrNotFound):
		err = s.Hasher.VerifyDummy(ctx, emailaddr.Canonical(email), password)
	case err == nil:
		matches, err = s.verify(ctx, credential, email, password)
	}
	switch {
	case err != nil:
		return credential, err
	case !matches:
		return credential, s.recordFailure(ctx, storage.Login, credential.UserID, InvalidCredentials)
	case credential.State != account.Active: // Shown only to a caller that knows the password.
		return credential, s.recordFailure(ctx, storage.Login, credential.UserID, UserDisabled)
	default:
		s.rehash(ctx, credential, password)
		return credential, nil
	}
}

// verify reports whether the password is that of the credential. A hash that takes more memory than this process may
// use costs and gets what a wrong password does: the answer must not show that there is such an account.
func (s *Service) verify(
	ctx context.Context, credential account.Credential, email, secret string,
) (bool, error) {
	matches, err := s.Hasher.Verify(ctx, credential.PasswordHash, secret)
	if errors.Is(err, password.ErrHashTooCostly) {
		s.tooCostly.Do(func() {
			s.Log.WarnContext(ctx, "password hash is too costly for this process, its owner cannot log in; logged once",
				"user", credential.UserID, "error", err)
		})
		return false, s.Hasher.VerifyDummy(ctx, emailaddr.Canonical(email), secret)
	}
	return matches, err
}

// rehash replaces the hash of a password that was hashed in another way than passwords are now: by the system that the
// account was imported from, or with other parameters. A log-in does not fail for it: the next one tries again.
func (s *Service) rehash(ctx context.Context, credential account.Credential, password string) {
	if !s.Hasher.Outdated(credential.PasswordHash) {
		return
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err == nil {
		err = s.Storage.Rehash(ctx, credential.UserID, credential.PasswordHash, hash)
	}
	if err != nil {
		s.Log.WarnContext(ctx, "password rehash failed, next log-in will retry", "user", credential.UserID, "error", err)
	}
}

// recordFailure records a refusal that follows the comparison of a password, even if the caller has left, and returns
// it.
func (s *Service) recordFailure(ctx context.Context, kind storage.EventKind, userID string, refusal Refusal) error {
	ctx, cancel := AfterComparison(ctx)
	defer cancel()
	if err := s.Storage.RecordFailure(ctx, kind, userID, string(refusal), s.Now()); err != nil {
		return err
	}
	return refusal
}

// AfterComparison returns the context in which the refusal of a password is recorded once it was compared. It does not
// end with the caller: a caller that leaves early must not get a guess that is not counted. Only calls that were
// admitted to the queue of the hashes get one, which bounds how many wait for the database.
func AfterComparison(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), deadlines.RecordFailure)
}

// issue issues the tokens of a session as it is now: the current refresh token and a new access token.
func (s *Service) issue(ctx context.Context, session account.Session, admin bool) (Issued, error) {
	access, err := s.accessToken(ctx, session, admin)
	if err != nil {
		return Issued{}, err
	}
	refreshToken, err := s.Tokens.Make(session.ID, session.Lineage.Current)
	return Issued{Session: session, Access: access, RefreshToken: refreshToken}, err
}

func (s *Service) accessToken(ctx context.Context, session account.Session, admin bool) (signing.Token, error) {
	grant := signing.Grant{
		UserID: session.UserID, SessionID: session.ID, Roles: account.Roles(admin),
		AuthTime: session.CreateTime, SessionEnd: session.ExpireTime,
	}
	if len(s.Claims) > 0 {
		user, err := s.Storage.ReadUser(ctx, session.UserID)
		if errors.Is(err, storage.ErrNotFound) { // Deleted since.
			return signing.Token{}, &account.SessionEndedError{SessionID: session.ID, UserID: session.UserID}
		}
		if err != nil {
			return signing.Token{}, err
		}
		if grant.AppMetadata, err = s.Claims.Select(user.AppMetadata); err != nil {
			// Written when other claims were configured. A log-in that fails would help nobody.
			s.Log.WarnContext(ctx, "app metadata is too large for an access token, left out", "user", user.ID, "error", err)
		}
	}
	return s.Keyring.Mint(grant, s.Now())
}
