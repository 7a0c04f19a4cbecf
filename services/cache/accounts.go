package cache

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// accounts finds out whether the session of a caller stands, and whose it is.
type accounts struct {
	store   gatehousev1.SessionServiceClient
	entries *Entries
	reads   *Group[authn.Account]
	now     func() time.Time
}

// load implements authn.LoadAccount. The cache is believed where it says that the session stands, or that it has ended
// by itself. Anything else is for the store to say: that costs a call only where there was one to be refused.
func (a *accounts) load(ctx context.Context, caller authn.Caller) (authn.Account, error) {
	if known, stands, err := a.lookUp(ctx, caller); stands || err != nil {
		return known.Account, err
	}
	read := func(ctx context.Context) (authn.Account, error) { return a.fetch(ctx, caller) }
	account, own, err := a.reads.Do(ctx, SessionKey(caller.UserID, caller.SessionID), read)
	if err != nil && !own && isTokenError(err) {
		account, err = read(ctx) // with the caller's own token
	}
	if err != nil && ctx.Err() == nil && isTimeout(err) {
		err = apierr.Unavailable(err) // It was the flight's time that was over, not the caller's.
	}
	return account, err
}

// look asks the cache. If the session does not stand by it and there is no error, the store has to be asked.
func (a *accounts) lookUp(ctx context.Context, caller authn.Caller) (known Found, stands bool, err error) {
	known = a.entries.Account(ctx, caller.UserID, caller.SessionID)
	switch {
	case known.Ended:
		return known, false, apierr.SessionEnded(caller.SessionID, caller.UserID)
	case !known.Matches(caller):
		return known, false, nil
	case known.Session.GetGeneration() != known.User.GetSessionGeneration():
		return known, false, nil // One of a newer generation shows that it is the user who is outdated.
	case claimsUnknownRole(caller, known.User):
		return known, false, nil // The token is from after the role was given, or the user from after it was taken away.
	default:
		return known, known.CheckActive(a.now()) == nil, nil
	}
}

// read asks the cache once more, as a flight may have landed since, and then the store.
func (a *accounts) fetch(ctx context.Context, caller authn.Caller) (authn.Account, error) {
	known, stands, err := a.lookUp(ctx, caller)
	if stands || err != nil {
		return known.Account, err
	}
	response, err := a.store.ReadSession(ctx, &gatehousev1.ReadSessionRequest{Id: authn.Current})
	if err != nil {
		return authn.Account{}, err
	}
	account := authn.Account{User: withoutAppMetadata(response.GetUser()), Session: withoutCurrent(response.GetSession())}
	if !account.Matches(caller) {
		return authn.Account{}, apierr.Internal(errors.New("the store has answered with the account of another caller"))
	}
	if account.User.GetVersion() < known.User.GetVersion() {
		// It asked a replica of the database that lags behind what is known already.
		return authn.Account{}, apierr.Unavailable(errors.New("the store has answered with a user of the past"))
	}
	a.entries.Fill(ctx, known.Lease, account.User, account.Session)
	return account, nil
}

// claimsMore tells whether a token says that its owner is an admin, and what is known of the user does not. That may be
// from before an operator gave the role, at the database, or be kept by a version of this service that knew no roles.
func claimsUnknownRole(caller authn.Caller, user *gatehousev1.User) bool {
	return slices.Contains(caller.Roles, authn.RoleAdmin) && !slices.Contains(user.GetRoles(), authn.RoleAdmin)
}

// ofTheToken tells whether the store does not take a token, which says nothing about others of the same session.
func isTokenError(err error) bool {
	st := apierr.Status(err)
	switch apierr.ReasonOf(st) {
	case gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED, gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED:
		return false
	default:
		return st.Code() == codes.Unauthenticated
	}
}

func isTimeout(err error) bool {
	code := apierr.Status(err).Code()
	return code == codes.DeadlineExceeded || code == codes.Canceled
}
