package login

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// maxRefreshAttempts bounds how often a refresh is judged again because others repeated the same token meanwhile.
const maxRefreshAttempts = 8

// Refresh exchanges a refresh token for its successor. The rules are those of refresh.Lineage; the version of the
// session decides a race, and a call that loses it is judged by what the winner left. It fails with
// RefreshTokenInvalid, a TokenReusedError, an account.SessionEndedError and account.ErrSessionExpired.
func (s *Service) Refresh(ctx context.Context, token string) (Issued, error) {
	id, number, err := s.Tokens.Read(token)
	if err != nil {
		return Issued{}, fmt.Errorf("%w: %w", RefreshTokenInvalid, err)
	}
	for range maxRefreshAttempts {
		found, outcome, err := s.presentToken(ctx, id, number)
		if err != nil {
			return Issued{}, err
		}
		switch outcome {
		case refresh.Refused:
			return Issued{}, s.refuseAncestor(ctx, found.Session)
		case refresh.Reused:
			return Issued{}, &TokenReusedError{SessionID: found.Session.ID, UserID: found.User.ID}
		case refresh.Repeated:
			counted, err := s.Storage.RepeatToken(ctx, found.Session, s.Now())
			if err != nil {
				return Issued{}, err
			}
			if !counted {
				continue
			}
		case refresh.Rotated, refresh.Reissued:
		}
		return s.issue(ctx, found.Session, found.User.Admin)
	}
	return Issued{}, conflictError("the refresh token was used again and again during a refresh")
}

// presentToken changes a session as the rules say when its refresh token with this number is presented, and returns
// what that meant. The session of a repeated or refused token is not changed yet.
func (s *Service) presentToken(
	ctx context.Context, id string, number int64,
) (found account.UserSession, outcome refresh.Outcome, err error) {
	ended := false // by this call, because the token was reused
	found, err = s.Storage.ChangeSession(ctx, id, func(found account.UserSession) (session account.Session, err error) {
		session, outcome, err = s.applyRefresh(ctx, found, number)
		ended = session.EndReason != found.Session.EndReason
		return session, err
	})
	if ended { // Also if the database's answer was lost: a call that repeats it would not report it again.
		s.Log.WarnContext(ctx, "security event: refresh token reused, session ended", "event", string(account.TokenReused),
			"session", id, "token_number", number, "client", callctx.ClientFrom(ctx).Address)
	}
	if errors.Is(err, storage.ErrNotFound) {
		return found, outcome, &account.SessionEndedError{} // So long ago that it was deleted.
	}
	return found, outcome, err
}

// applyRefresh returns a session after its refresh token with this number was presented.
func (s *Service) applyRefresh(
	ctx context.Context, found account.UserSession, number int64,
) (account.Session, refresh.Outcome, error) {
	session, now := found.Session, s.Now()
	if session.EndReason == account.TokenReused {
		return session, refresh.Reused, nil // Every later call learns why, too: the owner's above all.
	}
	if err := found.CheckActive(now); err != nil {
		return session, refresh.Reused, err
	}
	client := callctx.ClientFrom(ctx)
	same := callctx.SameClient(session.Client(), client)
	lineage, outcome := session.Lineage.Present(number, same, now, s.Lifetimes.RefreshGrace)
	switch outcome {
	case refresh.Rotated, refresh.Reissued:
		session.Lineage = lineage
		session.LastUseTime, session.ExpireTime = now, s.Lifetimes.expiry(session.CreateTime, now)
		session = session.UsedBy(client)
	case refresh.Repeated, refresh.Refused: // Counted apart from the version: no cache holds it.
	case refresh.Reused:
		session.EndTime, session.EndReason = now, account.TokenReused
	}
	return session, outcome, nil
}

// refuseAncestor returns the error of a token that was traded moments ago and comes from another client since. The
// session continues: the token may belong to a request that was delayed.
func (s *Service) refuseAncestor(ctx context.Context, session account.Session) error {
	if err := s.Storage.RefuseToken(ctx, session, string(RefreshTokenInvalid), s.Now()); err != nil {
		return err
	}
	return fmt.Errorf("%w: it was traded moments ago, and its successor is another client's", RefreshTokenInvalid)
}
