package authn

import (
	"context"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/sessionrule"

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

// Matches reports whether the account is that of the caller: neither part is missing or another user's.
func (a Account) Matches(caller Caller) bool {
	return caller.UserID != "" && a.User.GetId() == caller.UserID && a.Session.GetUserId() == caller.UserID &&
		a.Session.GetId() == caller.SessionID
}

// CheckActive reports an error unless the session may act: SESSION_ENDED or SESSION_EXPIRED. A session that was ended
// individually has no place in an Account and is not seen here.
func (a Account) CheckActive(now time.Time) error {
	state := sessionrule.State{
		Generation: a.Session.GetGeneration(), UserGeneration: a.User.GetSessionGeneration(),
		UserDisabled: isDisabled(a.User), ExpireTime: a.Session.GetExpireTime().AsTime(),
	}
	switch state.Judge(now) {
	case sessionrule.Active:
		return nil
	case sessionrule.Expired:
		return apierr.SessionExpired()
	case sessionrule.Suspended: // Without ids, which would make caches remember that the session has ended.
		return apierr.SessionEnded("", "")
	default:
		return apierr.SessionEnded(a.Session.GetId(), a.User.GetId())
	}
}

// isDisabled reports whether a user is disabled. A user without a state was stored in a cache by a version that knew no
// states, when all users were active: otherwise every caller would be a miss at the first start of a new version.
func isDisabled(user *gatehousev1.User) bool {
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
