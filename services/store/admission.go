package store

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// loadAccount asks the database whether the session of a caller stands: the last word on it.
func loadAccount(db *storage.Storage, now func() time.Time) authn.LoadAccount {
	return func(ctx context.Context, caller authn.Caller) (authn.Account, error) {
		found, err := db.ReadAccount(ctx, caller.SessionID)
		if errors.Is(err, storage.ErrNotFound) {
			// Nobody is told to keep in mind that it has ended: a replica of the database may not know it yet.
			return authn.Account{}, apierr.SessionEnded("", "")
		}
		if err != nil {
			return authn.Account{}, translate(err)
		}
		if err := standing(found, now()); err != nil {
			return authn.Account{}, err
		}
		account := authn.Account{User: userResource(found.User), Session: sessionResource(found.Session)}
		if !account.Belongs(caller) {
			return authn.Account{}, apierr.AccessTokenInvalid(errors.New("its session is that of another user"))
		}
		return account, nil
	}
}

// standing tells whether a session stands: nil, SESSION_ENDED or SESSION_EXPIRED.
func standing(account storage.Account, now time.Time) error {
	switch {
	case account.Ended():
		return apierr.SessionEnded(account.Session.ID, account.User.ID)
	case !now.Before(account.Session.ExpireTime):
		return apierr.SessionExpired()
	default:
		return nil
	}
}

func userResource(user storage.User) *gatehousev1.User {
	return &gatehousev1.User{
		Id: user.ID, Email: user.Email, FullName: user.FullName,
		CreateTime: timestamppb.New(user.CreateTime), UpdateTime: timestamppb.New(user.UpdateTime),
		Version: user.Version, SessionGeneration: user.SessionGeneration,
	}
}

func sessionResource(session storage.Session) *gatehousev1.Session {
	return &gatehousev1.Session{
		Id: session.ID, UserId: session.UserID,
		CreateTime:  timestamppb.New(session.CreateTime),
		LastUseTime: timestamppb.New(session.LastUseTime), ExpireTime: timestamppb.New(session.ExpireTime),
		UserAgent: session.UserAgent, ClientAddress: session.ClientAddress,
		Version: session.Version, Generation: session.Generation,
	}
}

// translate gives a storage error its place in the contract. What it does not know is INTERNAL.
func translate(err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return apierr.Unavailable(err)
	}
	return err
}
