package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
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

// maxRefreshAttempts bounds how often a refresh is judged again because others repeated the same token meanwhile.
const maxRefreshAttempts = 8

// RefreshSession trades a refresh token. The rules are those of refresh.Lineage; the version of the session decides a
// race, and a call that loses it is judged by what the winner left.
func (s *sessionService) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	id, number, err := s.tokens.Read(req.GetRefreshToken())
	if err != nil {
		return nil, apierr.RefreshTokenInvalid(err)
	}
	for range maxRefreshAttempts {
		current, outcome, err := s.presentToken(ctx, id, number)
		if err != nil {
			return nil, err
		}
		switch outcome {
		case refresh.Refused:
			return nil, s.refuseAncestor(ctx, current.Session)
		case refresh.Reused:
			return nil, apierr.RefreshTokenReused(current.Session.ID, current.User.ID)
		case refresh.Repeated:
			counted, err := s.storage.RepeatToken(ctx, current.Session, s.now())
			if err != nil {
				return nil, translate(err)
			}
			if !counted {
				continue
			}
		case refresh.Rotated, refresh.Reissued:
		}
		return s.answer(ctx, current.Session, current.User.Admin)
	}
	return nil, apierr.Unavailable(errors.New("the refresh token was used again and again during a refresh"))
}

// presentToken changes a session as the rules say when its refresh token with this number is presented, and returns
// what that meant. The session of a repeated or refused token is not changed yet.
func (s *sessionService) presentToken(
	ctx context.Context, id string, number int64,
) (current account.UserSession, outcome refresh.Outcome, err error) {
	found := false // whether it is this call that found the token reused
	current, err = s.storage.ChangeSession(ctx, id, func(current account.UserSession) (session account.Session, err error) {
		session, outcome, err = s.applyRefresh(ctx, current, number)
		found = session.EndReason != current.Session.EndReason
		return session, err
	})
	if found { // Also where the database's answer to the end was lost: whoever repeats it will not be told again.
		s.reportReuse(ctx, id, number)
	}
	if errors.Is(err, storage.ErrNotFound) {
		return current, outcome, apierr.SessionEnded("", "") // So long ago that it was deleted.
	}
	if err != nil {
		return current, outcome, translate(err)
	}
	return current, outcome, nil
}

// applyRefresh decides what becomes of a session whose refresh token with this number is presented.
func (s *sessionService) applyRefresh(
	ctx context.Context, current account.UserSession, number int64,
) (account.Session, refresh.Outcome, error) {
	session, now := current.Session, s.now()
	if session.EndReason == account.TokenReused {
		return session, refresh.Reused, nil // Whoever comes later is told why, too: the owner above all.
	}
	if err := standing(current, now); err != nil {
		return session, refresh.Reused, err
	}
	client := callctx.ClientFrom(ctx)
	same := callctx.SameClient(session.Client(), client)
	lineage, outcome := session.Lineage.Present(number, same, now, s.config.RefreshGrace)
	switch outcome {
	case refresh.Rotated, refresh.Reissued:
		session.Lineage = lineage
		session.LastUseTime, session.ExpireTime = now, s.config.expiry(session.CreateTime, now)
		session = session.UsedBy(client)
	case refresh.Repeated, refresh.Refused: // Counted apart from the version: nobody else has to know of it.
	case refresh.Reused:
		session.EndTime, session.EndReason = now, account.TokenReused
	}
	return session, outcome, nil
}

// refuseAncestor returns the error of a token that was traded moments ago and comes from another client since. The
// session goes on: the token may be that of a request which was late.
func (s *sessionService) refuseAncestor(ctx context.Context, session account.Session) error {
	refusal := apierr.RefreshTokenInvalid(errors.New("it was traded moments ago, and its successor is another client's"))
	err := s.storage.RefuseToken(ctx, session, apierr.ReasonName(refusal.Reason()), s.now())
	if err != nil {
		return translate(err)
	}
	return refusal
}

// reportReuse tells whoever watches the log.
func (s *sessionService) reportReuse(ctx context.Context, sessionID string, number int64) {
	s.log.WarnContext(ctx, "security event: a refresh token was reused; its session ends",
		"event", string(account.TokenReused), "session", sessionID, "token_number", number,
		"client", callctx.ClientFrom(ctx).Address)
}
