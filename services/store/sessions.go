package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// tokenType is how an access token is presented (RFC 6750).
const tokenType = "Bearer"

// sessionService implements gatehouse.v1.SessionService on the database.
type sessionService struct {
	gatehousev1.UnsafeSessionServiceServer

	storage   *storage.Storage
	hasher    *password.Hasher
	passwords *password.Policy
	keyring   *signing.Keyring
	tokens    *refresh.Tokens
	pages     *pageTokens
	config    SessionConfig
	claims    appClaims
	now       func() time.Time
	log       *slog.Logger

	tooCostly sync.Once // to log that there is a hash which this process cannot verify
}

func newSessionService(
	config Config, db *storage.Storage, hasher *password.Hasher, passwords *password.Policy, keyring *signing.Keyring,
	log *slog.Logger,
) (*sessionService, error) {
	masterKeys := [][]byte{config.MasterKey}
	if config.SecondMasterKey != nil {
		masterKeys = append(masterKeys, config.SecondMasterKey)
	}
	tokens, err := refresh.NewTokens(masterKeys...)
	if err != nil {
		return nil, err
	}
	pages, err := newPageTokens(masterKeys...)
	if err != nil {
		return nil, err
	}
	return &sessionService{
		storage: db, hasher: hasher, passwords: passwords, keyring: keyring, tokens: tokens, pages: pages,
		config: config.Sessions, claims: config.AppMetadataClaims, now: config.Now, log: log,
	}, nil
}

// maxLogInAttempts bounds how often a log-in begins again because the password was changed while it was checked.
const maxLogInAttempts = 3

// CreateSession logs in.
func (s *sessionService) CreateSession(
	ctx context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	for range maxLogInAttempts {
		credential, err := s.authenticate(ctx, req.GetEmail(), req.GetPassword())
		if err != nil {
			return nil, err
		}
		session, err := s.newSession(ctx, credential)
		if err != nil {
			return nil, err
		}
		err = s.storage.CreateSession(ctx, session)
		if errors.Is(err, storage.ErrStaleGeneration) {
			continue // The password may be another one by now, or the account gone.
		}
		if err != nil {
			return nil, translate(err)
		}
		return s.opened(ctx, session, credential.Admin)
	}
	return nil, apierr.Unavailable(errors.New("all sessions of the user ended again and again during a log-in"))
}

// newSession is a session that is not stored yet.
func (s *sessionService) newSession(ctx context.Context, credential account.Credential) (account.Session, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return account.Session{}, err
	}
	now := s.now().UTC().Truncate(time.Microsecond) // As exact as the database keeps it.
	client := callctx.ClientFrom(ctx)
	return account.Session{
		ID: id.String(), UserID: credential.UserID, Generation: credential.SessionGeneration, Version: 1,
		CreateTime: now, LastUseTime: now, ExpireTime: s.config.expiry(now, now),
		UserAgent: client.UserAgent, ClientAddress: client.Address, Lineage: refresh.NewLineage(now),
	}, nil
}

// authenticate tells whose address and password these are. An unknown address costs the same hash, the same event and
// gets the same answer as a wrong password, so that nobody can find out which addresses have accounts. Beyond what can
// be hashed nothing is read: a flood is refused at the cost of a call, and leaves the database to the others.
func (s *sessionService) authenticate(ctx context.Context, email, password string) (account.Credential, error) {
	if err := s.hasher.Admit(ctx); err != nil {
		return account.Credential{}, translate(err)
	}
	credential, err := s.storage.ReadCredential(ctx, email)
	matches := false
	switch {
	case errors.Is(err, storage.ErrNotFound):
		err = s.hasher.VerifyDummy(ctx, emailaddr.Canonical(email), password)
	case err == nil:
		matches, err = s.verify(ctx, credential, email, password)
	}
	switch {
	case err != nil:
		return credential, translate(err)
	case !matches:
		return credential, s.refused(ctx, storage.Login, credential.UserID, apierr.InvalidCredentials())
	case credential.State != account.Active: // Told only to who knows the password.
		return credential, s.refused(ctx, storage.Login, credential.UserID, apierr.UserDisabled())
	default:
		s.rehash(ctx, credential, password)
		return credential, nil
	}
}

// verify reports whether the password is that of the credential. One whose hash takes more memory than this process may
// use costs and gets what a wrong password does: the answer must not tell that there is such an account.
func (s *sessionService) verify(
	ctx context.Context, credential account.Credential, email, secret string,
) (bool, error) {
	matches, err := s.hasher.Verify(ctx, credential.PasswordHash, secret)
	if errors.Is(err, password.ErrHashTooCostly) {
		s.tooCostly.Do(func() {
			s.log.WarnContext(ctx, "password hash is too costly for this process, its owner cannot log in; logged once",
				"user", credential.UserID, "error", err)
		})
		return false, s.hasher.VerifyDummy(ctx, emailaddr.Canonical(email), secret)
	}
	return matches, err
}

// rehash replaces the hash of a password that was hashed in another way than passwords are now: by the system that the
// account was imported from, or with other parameters. A log-in does not fail for it: the next one tries again.
func (s *sessionService) rehash(ctx context.Context, credential account.Credential, password string) {
	if !s.hasher.Outdated(credential.PasswordHash) {
		return
	}
	hash, err := s.hasher.Hash(ctx, password)
	if err == nil {
		err = s.storage.Rehash(ctx, credential.UserID, credential.PasswordHash, hash)
	}
	if err != nil {
		s.log.WarnContext(ctx, "a password could not be hashed anew", "user", credential.UserID, "error", err)
	}
}

// opened answers a log-in.
func (s *sessionService) opened(
	ctx context.Context, session account.Session, admin bool,
) (*gatehousev1.CreateSessionResponse, error) {
	answer, err := s.answer(ctx, session, admin)
	if err != nil {
		return nil, err
	}
	return &gatehousev1.CreateSessionResponse{
		AccessToken: answer.GetAccessToken(), TokenType: answer.GetTokenType(), ExpiresIn: answer.GetExpiresIn(),
		SessionId: answer.GetSessionId(), RefreshToken: answer.GetRefreshToken(),
		CreateTime: answer.GetCreateTime(), ExpireTime: answer.GetExpireTime(), Session: answer.GetSession(),
	}, nil
}

// answer gives out the tokens of a session as it is now: the current refresh token and a new access token.
func (s *sessionService) answer(
	ctx context.Context, session account.Session, admin bool,
) (*gatehousev1.RefreshSessionResponse, error) {
	access, err := s.accessToken(ctx, session, admin)
	if err != nil {
		return nil, err
	}
	refreshToken, err := s.tokens.Make(session.ID, session.Lineage.Current)
	if err != nil {
		return nil, err
	}
	resource := sessionResource(session)
	resource.Current = true
	create, expire := resource.GetCreateTime(), resource.GetExpireTime()
	return &gatehousev1.RefreshSessionResponse{
		AccessToken: access.Signed, TokenType: tokenType,
		ExpiresIn: int32(access.Lifetime / time.Second), //nolint:gosec // ≤ 1 day
		SessionId: session.ID, RefreshToken: refreshToken,
		CreateTime: create, ExpireTime: expire, Session: authn.ShowSession(ctx, resource),
	}, nil
}

func (s *sessionService) accessToken(
	ctx context.Context, session account.Session, admin bool,
) (signing.Token, error) {
	grant := signing.Grant{
		UserID: session.UserID, SessionID: session.ID, Roles: roles(account.User{Admin: admin}),
		AuthTime: session.CreateTime, SessionEnd: session.ExpireTime,
	}
	if len(s.claims) > 0 {
		user, err := s.storage.ReadUser(ctx, session.UserID)
		if errors.Is(err, storage.ErrNotFound) {
			return signing.Token{}, apierr.SessionEnded(session.ID, session.UserID) // Deleted since.
		}
		if err != nil {
			return signing.Token{}, translate(err)
		}
		if grant.AppMetadata, err = s.claims.of(user.AppMetadata); err != nil {
			// Written when other claims were configured. A log-in that fails would help nobody.
			s.log.WarnContext(ctx, "app metadata is left out of an access token", "user", user.ID, "error", err)
		}
	}
	return s.keyring.Mint(grant, s.now())
}

// ReadSession tells of a session of the caller that stands.
func (s *sessionService) ReadSession(
	ctx context.Context, req *gatehousev1.ReadSessionRequest,
) (*gatehousev1.ReadSessionResponse, error) {
	id, err := authn.ReadableSessionID(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	caller, _ := authn.CallerFrom(ctx)
	if id == caller.SessionID {
		return authn.Introspect(ctx)
	}
	found, err := s.storage.ReadSession(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierr.SessionNotFound()
	}
	if err != nil {
		return nil, translate(err)
	}
	if found.User.ID != caller.UserID || standing(found, s.now()) != nil {
		return nil, apierr.SessionNotFound()
	}
	user, err := userResource(found.User)
	return &gatehousev1.ReadSessionResponse{
		Session: authn.ShowSession(ctx, sessionResource(found.Session)), User: user, Active: true,
		Sub: found.User.ID, TokenType: tokenType,
	}, err
}
