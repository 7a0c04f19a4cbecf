package storage

import (
	"context"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// actTime is when the acts happen whose time is given.
var actTime = time.Date(2026, 7, 1, 12, 0, 0, 123_456_000, time.UTC)

// act is one thing that can be done: how, and what events tell of it, if any does. Of an event it names what is its
// own; the rest comes from the origin.
type act struct {
	do     func(context.Context) error
	wanted []Event
}

// acts make what each needs, on a database without users and keys. There is one for every kind of event.
var acts = map[string]func(*testing.T, *Storage) act{
	"a sign-up": func(_ *testing.T, s *Storage) act {
		user := newActor("ada@example.com")
		return act{func(ctx context.Context) error { return s.CreateUser(ctx, user, hash) }, about(user, UserCreated)}
	},
	"a repeatable sign-up": func(_ *testing.T, s *Storage) act {
		user := newActor("ada@example.com")
		return act{func(ctx context.Context) error {
			return s.CreateUserOnce(ctx, user, hash, newSignUp(user, 1), actTime)
		}, about(user, UserCreated)}
	},
	"another request with the id of a sign-up": func(t *testing.T, s *Storage) act {
		user := newActor("ada@example.com")
		signUp := newSignUp(user, 1)
		if err := s.CreateUserOnce(t.Context(), user, hash, signUp, actTime); err != nil {
			t.Fatal(err)
		}
		wanted := about(user, UserCreated)
		wanted[0].Reason = "REQUEST_ID_REUSED"
		return act{func(ctx context.Context) error {
			return s.VoidSignUp(ctx, signUp, "REQUEST_ID_REUSED", wanted[0].Time)
		}, wanted}
	},
	"a log-in": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		session := newSession(user)
		return act{func(ctx context.Context) error { return s.CreateSession(ctx, session) }, ofSession(about(user, Login), session)}
	},
	"a log-out": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		session := addSession(t, s, user)
		return act{func(ctx context.Context) error {
			return s.EndSession(ctx, user.ID, session.ID, actTime)
		}, ofSession(about(user, Logout), session)}
	},
	"a refresh token that comes again": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		session := addSession(t, s, user)
		wanted := ofSession(about(user, RefreshReused), session)
		wanted[0].Reason = "REFRESH_TOKEN_REUSED"
		return act{func(ctx context.Context) error {
			_, err := s.ChangeSession(ctx, session.ID, func(current account.UserSession) (account.Session, error) {
				current.Session.EndTime, current.Session.EndReason = actTime, account.TokenReused
				return current.Session, nil
			})
			return err
		}, wanted}
	},
	"a refresh token that is given out again": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		session := addSession(t, s, user)
		return act{func(ctx context.Context) error {
			_, err := s.RepeatToken(ctx, session, actTime)
			return err
		}, with(ofSession(about(user, RefreshRepeated), session), "answer", "same")}
	},
	"a refresh token that another client uses again": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		session := addSession(t, s, user)
		return act{func(ctx context.Context) error {
			_, err := s.ChangeSession(ctx, session.ID, func(current account.UserSession) (account.Session, error) {
				current.Session.LastUseTime = actTime
				current.Session.Lineage.Current++
				return current.Session.UsedBy(callctx.Client{Address: "192.0.2.99"}), nil
			})
			return err
		}, with(ofSession(about(user, RefreshRepeated), session), "answer", "new")}
	},
	"a refresh token that comes late": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		session := addSession(t, s, user)
		wanted := ofSession(about(user, RefreshRepeated), session)
		wanted[0].Reason = "REFRESH_TOKEN_INVALID"
		return act{func(ctx context.Context) error {
			return s.RefuseToken(ctx, session, "REFRESH_TOKEN_INVALID", actTime)
		}, wanted}
	},
	"a refresh": func(t *testing.T, s *Storage) act {
		session := addSession(t, s, addActor(t, s))
		return act{func(ctx context.Context) error {
			_, err := s.ChangeSession(ctx, session.ID, func(current account.UserSession) (account.Session, error) {
				current.Session.LastUseTime = actTime
				current.Session.Lineage, _ = current.Session.Lineage.Present(1, true, actTime, time.Minute)
				return current.Session, nil
			})
			return err
		}, nil}
	},
	"a log-out everywhere": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		addSession(t, s, user)
		return act{func(ctx context.Context) error {
			_, err := s.EndAllSessions(ctx, user.ID, Replacement{}, actTime)
			return err
		}, about(user, LogoutEverywhere)}
	},
	"a log-out everywhere else": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		replacement := Replacement{Old: addSession(t, s, user).ID, New: newSession(user)}
		return act{func(ctx context.Context) error {
			_, err := s.EndAllSessions(ctx, user.ID, replacement, actTime)
			return err
		}, with(about(user, LogoutEverywhere), "session", replacement.New.ID)}
	},
	"a change of the password": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		replacement := Replacement{Old: addSession(t, s, user).ID, New: newSession(user)}
		return act{func(ctx context.Context) error {
			_, err := s.ChangePassword(ctx, user.ID, hash, hash+"2", replacement, actTime)
			return err
		}, with(about(user, PasswordChanged), "session", replacement.New.ID)}
	},
	"a profile": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		return act{change(s, user, func(change *UserChange) {
			change.User.FullName, change.User.TimeZone, change.User.AppMetadata = "Grace", "Europe/London", "{}"
		}), with(about(user, UserUpdated), "fields", "full_name,time_zone,app_metadata")}
	},
	"the rest of a profile": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		return act{change(s, user, func(change *UserChange) {
			change.User.Locale, change.User.PictureURI, change.User.Metadata = "en", "https://x.example", "{}"
		}), with(about(user, UserUpdated), "fields", "locale,picture_uri,metadata")}
	},
	"a new admin": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		return act{
			change(s, user, func(change *UserChange) { change.User.Admin = true }),
			with(about(user, RolesSet), "roles", "admin,user"),
		}
	},
	"an admin no more": func(t *testing.T, s *Storage) act {
		addAdmin(t, s, "root@example.com")
		user := addAdmin(t, s, "ada@example.com")
		return act{
			change(s, user, func(change *UserChange) { change.User.Admin = false }),
			with(about(user, RolesSet), "roles", "user"),
		}
	},
	"an account disabled": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		return act{change(s, user, func(change *UserChange) {
			change.User.State = account.Disabled
			change.User.SessionGeneration = 1
		}), about(user, UserDisabled)}
	},
	"an account enabled": func(t *testing.T, s *Storage) act {
		user := newActor("ada@example.com")
		user.State = account.Disabled
		if err := s.CreateUser(t.Context(), user, hash); err != nil {
			t.Fatal(err)
		}
		return act{change(s, user, func(change *UserChange) { change.User.State = account.Active }), about(user, UserEnabled)}
	},
	"a password set by an admin": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		return act{change(s, user, func(change *UserChange) {
			change.PasswordHash, change.User.SessionGeneration = hash+"2", 1
		}), about(user, PasswordReset)}
	},
	"sessions ended by an admin": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		return act{
			change(s, user, func(change *UserChange) { change.User.SessionGeneration = 1 }),
			about(user, LogoutEverywhere),
		}
	},
	"all at once": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		return act{change(s, user, func(change *UserChange) {
			change.User.FullName, change.User.Admin, change.User.State = "Grace", true, account.Disabled
			change.PasswordHash, change.User.SessionGeneration = hash+"2", 1
		}), append(append(with(about(user, UserUpdated), "fields", "full_name"),
			with(about(user, RolesSet), "roles", "admin,user")...), about(user, UserDisabled, PasswordReset)...)}
	},
	"a deletion": func(t *testing.T, s *Storage) act {
		addAdmin(t, s, "root@example.com")
		user := addAdmin(t, s, "ada@example.com")
		addSession(t, s, user)
		return act{change(s, user, func(change *UserChange) { change.Delete = true }), about(user, UserDeleted)}
	},
	"a signing key": func(_ *testing.T, s *Storage) act {
		key := newSigningKey(1)
		key.CreateTime = actTime
		return act{func(ctx context.Context) error {
			return s.CreateSigningKey(ctx, key)
		}, with(about(account.User{}, SigningKeyRotated), "kid", key.KeyID)}
	},
	"a signing key revoked": func(t *testing.T, s *Storage) act {
		key, successor := newSigningKey(1), newSigningKey(2)
		successor.CreateTime = actTime
		if err := s.CreateSigningKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		revoked := with(about(account.User{}, SigningKeyRevoked), "kid", key.KeyID)
		revoked[0].Time = time.Time{} // By the database's clock.
		return act{func(ctx context.Context) error {
			return s.RevokeSigningKey(ctx, key.KeyID, &successor)
		}, append(revoked, with(about(account.User{}, SigningKeyRotated), "kid", successor.KeyID)...)}
	},
	"a refusal": func(t *testing.T, s *Storage) act {
		user := addActor(t, s)
		wanted := about(user, Login)
		wanted[0].Reason = "INVALID_CREDENTIALS"
		return act{func(ctx context.Context) error {
			return s.RecordFailure(ctx, Login, user.ID, "INVALID_CREDENTIALS", actTime)
		}, wanted}
	},
}

func newActor(email string) account.User {
	user := newUser(email)
	user.CreateTime, user.UpdateTime = actTime, actTime
	return user
}

func addActor(t *testing.T, s *Storage) account.User {
	t.Helper()
	user := newActor("ada@example.com")
	if err := s.CreateUser(t.Context(), user, hash); err != nil {
		t.Fatal(err)
	}
	return user
}

// change changes a user as edit says.
func change(s *Storage, user account.User, edit func(*UserChange)) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.ChangeUser(ctx, user.ID, actTime, func(before account.User) (UserChange, error) {
			change := UserChange{User: before}
			edit(&change)
			return change, nil
		})
		return err
	}
}

// about are events of these kinds about a user.
func about(user account.User, kinds ...EventKind) []Event {
	var events []Event
	for _, kind := range kinds {
		events = append(events, Event{Kind: kind, Time: actTime, UserID: user.ID})
	}
	return events
}

func with(events []Event, name, value string) []Event {
	events[0].Details = map[string]string{name: value}
	return events
}

func ofSession(events []Event, session account.Session) []Event {
	events[0].Origin = audit.Origin{SessionID: session.ID}
	return events
}
