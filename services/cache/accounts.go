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
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/freshgroup"
)

// accounts loads the accounts of callers, from the cache if possible.
type accounts struct {
	store   gatehousev1.SessionServiceClient
	entries *coherence.Entries
	reads   *freshgroup.Group[authn.Account]
	now     func() time.Time
}

// load implements authn.LoadAccount. The cache decides if the session is active or has a tombstone. Otherwise the store
// decides: that costs a call only for a miss or a caller that is likely to be rejected.
func (a *accounts) load(ctx context.Context, caller authn.Caller) (authn.Account, error) {
	if known, active, err := a.lookUp(ctx, caller); active || err != nil {
		return known.Account, err
	}
	read := func(ctx context.Context) (authn.Account, error) { return a.fetch(ctx, caller) }
	account, own, err := a.reads.Do(ctx, coherence.SessionKey(caller.UserID, caller.SessionID), read)
	if err != nil && !own && isTokenError(err) {
		account, err = read(ctx) // with the caller's own token
	}
	if err != nil && ctx.Err() == nil && isTimeout(err) {
		err = apierr.Unavailable(err) // The shared call has timed out, not the caller.
	}
	return account, err
}

// lookUp reads the cache. If it reports neither an active session nor an error, the store must be read.
func (a *accounts) lookUp(ctx context.Context, caller authn.Caller) (known coherence.Found, active bool, err error) {
	known = a.entries.Account(ctx, caller.UserID, caller.SessionID)
	switch {
	case known.Ended:
		return known, false, apierr.SessionEnded(caller.SessionID, caller.UserID)
	case !known.Matches(caller):
		return known, false, nil
	case known.Session.GetGeneration() != known.User.GetSessionGeneration():
		return known, false, nil // If the session's is higher, the user is outdated.
	case claimsUnknownRole(caller, known.User):
		return known, false, nil // The token is newer than the role, or the user is newer than its revocation.
	default:
		return known, known.CheckActive(a.now()) == nil, nil
	}
}

// fetch reads the cache once more, as another call may have filled it since, and then the store.
func (a *accounts) fetch(ctx context.Context, caller authn.Caller) (authn.Account, error) {
	known, active, err := a.lookUp(ctx, caller)
	if active || err != nil {
		return known.Account, err
	}
	response, err := a.store.ReadSession(ctx, &gatehousev1.ReadSessionRequest{Id: authn.Current})
	if err != nil {
		return authn.Account{}, err
	}
	account := authn.Account{
		User: coherence.WithoutAppMetadata(response.GetUser()), Session: withoutCurrent(response.GetSession()),
	}
	if !account.Matches(caller) {
		return authn.Account{}, apierr.Internal(errors.New("the store returned the account of another caller"))
	}
	if account.User.GetVersion() < known.User.GetVersion() {
		// It has read a replica of the database that lags.
		return authn.Account{}, apierr.Unavailable(errors.New("the store returned an outdated user"))
	}
	a.entries.Fill(ctx, known.Lease, account.User, account.Session)
	return account, nil
}

// claimsUnknownRole reports whether a token has the role admin and the cached user does not. The user may have been
// cached before an operator granted the role in the database, or by a version of this service without roles.
func claimsUnknownRole(caller authn.Caller, user *gatehousev1.User) bool {
	return slices.Contains(caller.Roles, authn.RoleAdmin) && !slices.Contains(user.GetRoles(), authn.RoleAdmin)
}

// isTokenError reports whether the store has rejected the token, which says nothing about other tokens of the session.
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
