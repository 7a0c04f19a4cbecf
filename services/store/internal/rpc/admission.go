package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// LoadAccount returns how the accounts of callers are loaded: from the database, which decides whether a session may
// act.
func LoadAccount(db *storage.Storage, now func() time.Time) authn.LoadAccount {
	return func(ctx context.Context, caller authn.Caller) (authn.Account, error) {
		found, err := db.ReadSession(ctx, caller.SessionID)
		if errors.Is(err, storage.ErrNotFound) {
			// Without ids, so that no cache remembers that it has ended: a replica of the database may not have it yet.
			err = &account.SessionEndedError{}
		}
		if err == nil {
			err = found.CheckActive(now())
		}
		if err != nil {
			return authn.Account{}, apiError(err)
		}
		user, err := userResource(found.User)
		if err != nil {
			return authn.Account{}, err
		}
		loaded := authn.Account{User: user, Session: sessionResource(found.Session)}
		if !loaded.Matches(caller) {
			return authn.Account{}, apierr.AccessTokenInvalid(errors.New("its session is that of another user"))
		}
		return loaded, nil
	}
}
