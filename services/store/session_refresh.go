package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/clientinfo"
	"github.com/gatehouse-auth/gatehouse/internal/requestid"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// maxRefreshGrace bounds for how long a refresh token that was traded is taken for a retry.
const maxRefreshGrace = 5 * time.Minute

// SessionConfig says how long sessions last.
type SessionConfig struct {
	RefreshGrace time.Duration // how long the token just traded gets the same successor: 0 to 5 min
	IdleLifetime time.Duration // a session ends when it is not refreshed for so long
	Lifetime     time.Duration // a session ends at this age
}

// Validate reports every fault at once.
func (c SessionConfig) Validate() error {
	var faults []error
	if c.RefreshGrace < 0 || c.RefreshGrace > maxRefreshGrace {
		faults = append(faults, fmt.Errorf("refresh grace is %v, not 0s to %v", c.RefreshGrace, maxRefreshGrace))
	}
	if c.IdleLifetime < time.Second {
		faults = append(faults, fmt.Errorf("session idle lifetime is %v, not at least 1s", c.IdleLifetime))
	}
	if c.Lifetime < c.IdleLifetime {
		faults = append(faults, fmt.Errorf("session lifetime is %v, less than the idle lifetime of %v",
			c.Lifetime, c.IdleLifetime))
	}
	return errors.Join(faults...)
}

// expiry tells when a session ends that is used now.
func (c SessionConfig) expiry(created, now time.Time) time.Time {
	idle, oldest := now.Add(c.IdleLifetime), created.Add(c.Lifetime)
	if oldest.Before(idle) {
		return oldest
	}
	return idle
}

// RefreshSession trades a refresh token. The rules are those of refresh.Lineage; the version of the session decides a
// race, and whoever loses it is judged by what the winner left.
func (s *sessionService) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	id, number, err := s.tokens.Read(req.GetRefreshToken())
	if err != nil {
		return nil, apierr.RefreshTokenInvalid(err)
	}
	found := false // whether it is this call that found the token reused
	account, err := s.storage.ChangeSession(ctx, id, func(account storage.Account) (storage.Session, error) {
		session, err := s.present(ctx, account, number)
		found = session.EndReason != account.Session.EndReason
		return session, err
	})
	if found { // Also where the database's answer to the end was lost: whoever repeats it will not be told again.
		s.reportReuse(ctx, id, number)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, apierr.SessionEnded("", "") // So long ago that it was deleted.
	case err != nil:
		return nil, translate(err)
	case account.Session.EndReason == storage.TokenReused:
		return nil, apierr.RefreshTokenReused(account.Session.ID, account.User.ID)
	default:
		return s.answer(ctx, account.Session, account.User.Admin)
	}
}

// present decides what becomes of a session whose refresh token with this number is presented.
func (s *sessionService) present(
	ctx context.Context, account storage.Account, number int64,
) (storage.Session, error) {
	session, now := account.Session, s.now()
	if session.EndReason == storage.TokenReused {
		return session, nil // Whoever comes later is told why, too: the owner above all.
	}
	if err := standing(account, now); err != nil {
		return session, err
	}
	lineage, outcome := session.Lineage.Present(number, now, s.config.RefreshGrace)
	switch outcome {
	case refresh.Rotated, refresh.Reissued:
		client := clientinfo.FromContext(ctx)
		session.Lineage = lineage
		session.LastUseTime, session.ExpireTime = now, s.config.expiry(session.CreateTime, now)
		session.UserAgent, session.ClientAddress = client.UserAgent, client.Address
	case refresh.Repeated: // The same answer again; nothing changes.
	case refresh.Reused:
		session.EndTime, session.EndReason = now, storage.TokenReused
	}
	return session, nil
}

// reportReuse tells whoever watches the log.
func (s *sessionService) reportReuse(ctx context.Context, sessionID string, number int64) {
	s.log.WarnContext(ctx, "security event: a refresh token was reused; its session is ended",
		"event", string(storage.TokenReused), "session", sessionID, "token_number", number,
		"client", clientinfo.FromContext(ctx).Address, "request_id", requestid.FromContext(ctx))
}
