package authn

import (
	"context"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// Account is the user and the session of a caller's token. Both are as they were at some moment after the call began.
type Account struct {
	User    *gatehousev1.User
	Session *gatehousev1.Session
}

// LoadAccount loads the account of a caller. It returns SESSION_ENDED or SESSION_EXPIRED for a session that is not
// active, and UNAVAILABLE if the account cannot be read, so that nothing is known of the session.
type LoadAccount func(ctx context.Context, caller Caller) (Account, error)

// Matches reports whether the account is that of the caller: neither part is missing or of another user.
func (a Account) Matches(caller Caller) bool {
	return caller.UserID != "" && a.User.GetId() == caller.UserID && a.Session.GetUserId() == caller.UserID &&
		a.Session.GetId() == caller.SessionID
}

// CheckActive returns nil if the session is active, else SESSION_ENDED or SESSION_EXPIRED. It does not see the end of a
// single session: such a session is never in an Account.
//
// Disabling an account ends all its sessions by their generation; the state is checked as well. A user without a state
// was cached by a version that had none, when all users were active: rejecting it would make every caller a cache miss
// at the first start of a new version.
func (a Account) CheckActive(now time.Time) error {
	switch {
	case a.Session.GetGeneration() < a.User.GetSessionGeneration():
		return apierr.SessionEnded(a.Session.GetId(), a.User.GetId())
	case disabled(a.User):
		// The session is not named: the state alone does not end it for good.
		return apierr.SessionEnded("", "")
	case !now.Before(a.Session.GetExpireTime().AsTime()):
		return apierr.SessionExpired()
	default:
		return nil
	}
}

func disabled(user *gatehousev1.User) bool {
	switch user.GetState() {
	case gatehousev1.UserState_USER_STATE_ACTIVE, gatehousev1.UserState_USER_STATE_UNSPECIFIED:
		return false
	default: // A state that this version does not know grants nothing.
		return true
	}
}

type accountKey struct{}

// WithAccount returns a context that carries the account of the caller.
func WithAccount(ctx context.Context, account Account) context.Context {
	return context.WithValue(ctx, accountKey{}, account)
}

// AccountFrom returns the account of the caller, and false if the server loads no accounts or the method's policy does
// not require a caller.
func AccountFrom(ctx context.Context) (Account, bool) {
	account, ok := ctx.Value(accountKey{}).(Account)
	return account, ok
}
