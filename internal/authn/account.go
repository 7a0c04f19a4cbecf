package authn

import (
	"context"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// Account is what is known of a caller beyond the token: the user, and the session that the token is of. Both are as
// they were at some moment after the call began.
type Account struct {
	User    *gatehousev1.User
	Session *gatehousev1.Session
}

// LoadAccount finds the account of a caller. A session that does not stand is an error: SESSION_ENDED or
// SESSION_EXPIRED. Where the account cannot be had, nothing is known of the session, and the error is UNAVAILABLE.
type LoadAccount func(ctx context.Context, caller Caller) (Account, error)

// Belongs tells whether the account is that of the caller: neither part is missing or somebody else's.
func (a Account) Belongs(caller Caller) bool {
	return caller.UserID != "" && a.User.GetId() == caller.UserID && a.Session.GetUserId() == caller.UserID &&
		a.Session.GetId() == caller.SessionID
}

// Standing tells whether the session stands: nil, SESSION_ENDED or SESSION_EXPIRED. A session that has been ended by
// itself alone has no place in an Account and is not seen here.
//
// To disable an account ends all its sessions, so that their generation is past; that none of them stands while it is
// disabled is said twice. A user without a state was kept in a cache by a version that knew no states, when all users
// were active, and stands: or every caller would be a miss at the first start of a new version.
func (a Account) Standing(now time.Time) error {
	switch {
	case a.Session.GetGeneration() < a.User.GetSessionGeneration():
		return apierr.SessionEnded(a.Session.GetId(), a.User.GetId())
	case disabled(a.User):
		// Not named: by the state alone it is not the session that has ended for good.
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
	default: // One that this version does not know gives nobody a right.
		return true
	}
}

type accountKey struct{}

// WithAccount gives a context that carries the account of the caller.
func WithAccount(ctx context.Context, account Account) context.Context {
	return context.WithValue(ctx, accountKey{}, account)
}

// AccountFrom gives the account of the caller, and false where the server does not load accounts or the method's policy
// did not ask for a caller.
func AccountFrom(ctx context.Context) (Account, bool) {
	account, ok := ctx.Value(accountKey{}).(Account)
	return account, ok
}
