package authn

import (
	"context"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// MaxLoginAge is how long ago the caller of a method that requires a recent log-in may have logged in.
const MaxLoginAge = 10 * time.Minute

// CheckRecentLogin returns RECENT_LOGIN_REQUIRED unless the caller logged in no more than MaxLoginAge before now. The
// age of the session counts, which no refresh renews: a stolen access or refresh token alone does not pass for long.
//
// Where accounts are loaded, the session's time counts. Elsewhere, as in the gateway, the token's auth_time does, which
// is cut to whole seconds and so rejects up to a second earlier. A token without it is rejected.
func CheckRecentLogin(ctx context.Context, now time.Time) error {
	caller, _ := CallerFrom(ctx)
	loginTime := caller.AuthTime
	if account, loaded := AccountFrom(ctx); loaded {
		loginTime = account.Session.GetCreateTime().AsTime()
	}
	if loginTime.IsZero() || now.Sub(loginTime) > MaxLoginAge {
		return apierr.RecentLoginRequired()
	}
	return nil
}
