package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// loadAccount asks the database whether the session of a caller stands: the last word on it.
func loadAccount(db *storage.Storage, now func() time.Time) authn.LoadAccount {
	return func(ctx context.Context, caller authn.Caller) (authn.Account, error) {
		found, err := db.ReadSession(ctx, caller.SessionID)
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
		user, err := userResource(found.User)
		if err != nil {
			return authn.Account{}, err
		}
		account := authn.Account{User: user, Session: sessionResource(found.Session)}
		if !account.Matches(caller) {
			return authn.Account{}, apierr.AccessTokenInvalid(errors.New("its session is that of another user"))
		}
		return account, nil
	}
}

// standing tells whether a session stands: nil, SESSION_ENDED or SESSION_EXPIRED.
func standing(found account.UserSession, now time.Time) error {
	switch {
	case found.Ended():
		return apierr.SessionEnded(found.Session.ID, found.User.ID)
	case !now.Before(found.Session.ExpireTime):
		return apierr.SessionExpired()
	default:
		return nil
	}
}

// userResource is a user without what only admins may see.
func userResource(user account.User) (*gatehousev1.User, error) {
	metadata, err := readMetadata(user.Metadata)
	if err != nil {
		return nil, fmt.Errorf("read the metadata of user %s: %w", user.ID, err)
	}
	resource := &gatehousev1.User{
		Id: user.ID, Email: user.Email, FullName: user.FullName, Locale: user.Locale, TimeZone: user.TimeZone,
		PictureUri: user.PictureURI, Metadata: metadata,
		CreateTime: timestamppb.New(user.CreateTime), UpdateTime: timestamppb.New(user.UpdateTime),
		Version: user.Version, SessionGeneration: user.SessionGeneration,
		Roles: roles(user), State: gatehousev1.UserState_USER_STATE_ACTIVE,
	}
	if user.State == account.Disabled {
		resource.State = gatehousev1.UserState_USER_STATE_DISABLED
	}
	return resource, nil
}

// fullUserResource is a user with all that admins may see.
func fullUserResource(user account.User) (*gatehousev1.User, error) {
	resource, err := userResource(user)
	if err != nil {
		return nil, err
	}
	if resource.AppMetadata, err = readMetadata(user.AppMetadata); err != nil {
		return nil, fmt.Errorf("read the app metadata of user %s: %w", user.ID, err)
	}
	return resource, nil
}

func roles(user account.User) []string {
	if user.Admin {
		return []string{authn.RoleAdmin, authn.RoleUser}
	}
	return []string{authn.RoleUser}
}

func sessionResource(session account.Session) *gatehousev1.Session {
	return &gatehousev1.Session{
		Id: session.ID, UserId: session.UserID,
		CreateTime:  timestamppb.New(session.CreateTime),
		LastUseTime: timestamppb.New(session.LastUseTime), ExpireTime: timestamppb.New(session.ExpireTime),
		UserAgent: session.UserAgent, ClientAddress: session.ClientAddress,
		PreviousUserAgent: session.PreviousUserAgent, PreviousClientAddress: session.PreviousClientAddress,
		Version: session.Version, Generation: session.Generation,
	}
}

// translate gives a storage error its place in the contract. What it does not know is INTERNAL.
func translate(err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return apierr.Unavailable(err)
	}
	if limited, ok := errors.AsType[*storage.TooManyChangesError](err); ok {
		return apierr.TooManyChanges(limited.RetryAfter)
	}
	return err
}
