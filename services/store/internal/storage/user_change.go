package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// UserChange is the outcome of a change of a user.
type UserChange struct {
	User         account.User // the profile, state, role and session generation after the change; the rest is ignored
	PasswordHash string       // the new hash, or "" to leave the present one
	Delete       bool         // deletes the user, whatever the other fields are
}

// maxUserChanges bounds how often a change of a user is decided again because another one was faster. Unlike those of a
// session, all concurrent changes change something, so that they wait in between: some three seconds in all, which is
// enough for fifty.
const maxUserChanges = 32

// errVersionConflict is a change that was decided on an outdated version.
var errVersionConflict = errors.New("another change was faster")

// ChangeUser reads a user, calls change to decide the new state, and writes that with the next version, if it differs.
// If another change was faster, it begins again: it may call change several times, each time with what was committed.
// It returns the user after the change; a deleted one has the version of the tombstone.
//
// It fails with ErrNotFound if there is no such user, with ErrLastAdmin if the change would leave no active admin, with
// a TooManyChangesError, and with the unaltered error of change; then it writes nothing.
func (s *Storage) ChangeUser(
	ctx context.Context, id string, now time.Time, change func(account.User) (UserChange, error),
) (account.User, error) {
	backOff := newBackOff()
	for range maxUserChanges {
		before, err := s.ReadUser(ctx, id)
		if err != nil {
			return account.User{}, err
		}
		changed, err := change(before)
		after := withIdentityOf(before, changed.User)
		changed.User = after
		if err != nil || changed == (UserChange{User: before}) {
			return before, err
		}
		after.Version, after.UpdateTime = before.Version+1, toMicros(now)
		changed.User = after
		err = s.transact(ctx, func(tx *gorm.DB) error {
			if err := writeUser(ctx, tx, before, changed); err != nil || changed.Delete {
				return err
			}
			return s.admitOwnChange(ctx, tx, UserUpdated, id, now)
		})
		if !errors.Is(err, errVersionConflict) || !backOff.pause(ctx) {
			return after, s.wrap(ctx, "change user "+id, err, nil)
		}
	}
	return account.User{}, fmt.Errorf("change user %s: %w: others were faster %d times",
		id, ErrUnavailable, maxUserChanges)
}

// withIdentityOf returns the user after a change, with the fields of the user before that no change is about.
func withIdentityOf(before, after account.User) account.User {
	after.ID, after.Email, after.Version = before.ID, before.Email, before.Version
	after.CreateTime, after.UpdateTime = before.CreateTime, before.UpdateTime
	return after
}

func writeUser(ctx context.Context, tx *gorm.DB, before account.User, changed UserChange) error {
	after := changed.User
	if before.IsActiveAdmin() && (changed.Delete || !after.IsActiveAdmin()) {
		if err := requireOtherAdmin(ctx, tx, before.ID); err != nil {
			return err
		}
	}
	// The user first, here as everywhere: others wait for its row.
	rows, err := gorm.G[userRow](tx).Where("id = ? AND version = ?", before.ID, before.Version).
		Select("full_name", "locale", "time_zone", "picture_uri", "metadata", "app_metadata", "update_time", "version",
			"state", "is_admin", "session_generation").
		Updates(ctx, userRowOf(after))
	switch {
	case err != nil:
		return err
	case rows == 0:
		return errVersionConflict
	case changed.Delete:
		err = deleteUser(ctx, tx, after)
	case changed.PasswordHash != "":
		err = setPassword(ctx, tx, before.ID, changed.PasswordHash)
	}
	if err != nil {
		return err
	}
	if after.SessionGeneration != before.SessionGeneration {
		if err := expireStaleSessions(ctx, tx, after, after.UpdateTime); err != nil {
			return err
		}
	}
	err = appendChange(ctx, tx, Change{UserID: before.ID, Version: after.Version, Ended: changed.Delete})
	if err != nil {
		return err
	}
	for _, event := range eventsOf(before, changed) {
		event.Time, event.UserID = after.UpdateTime, before.ID
		if err := appendEvent(ctx, tx, event); err != nil {
			return err
		}
	}
	return nil
}

// setPassword writes the hash of a user's password. An imported user may have had none.
func setPassword(ctx context.Context, tx *gorm.DB, userID, hash string) error {
	rows, err := gorm.G[credentialRow](tx).Where("user_id = ?", userID).Update(ctx, "password_hash", hash)
	if err != nil || rows > 0 {
		return err
	}
	return gorm.G[credentialRow](tx).Create(ctx, &credentialRow{UserID: userID, PasswordHash: hash})
}

// guardRow is a row that transactions change for the sake of its lock.
type guardRow struct {
	Name    string `gorm:"primaryKey"`
	Changes int64
}

func (guardRow) TableName() string { return "guards" }

// requireOtherAdmin fails with ErrLastAdmin if no active admin other than this one has a password to log in with. Each
// concurrent call waits until the one before has committed. In a cluster, whose nodes do not share locks, the change of
// the guard makes all but one fail at commit. The guard comes before any read, so that what is read is no older.
func requireOtherAdmin(ctx context.Context, tx *gorm.DB, id string) error {
	err := requireRow(gorm.G[guardRow](tx).Where("name = ?", "admins").Update(ctx, "changes", gorm.Expr("changes + 1")))
	if err != nil {
		return err
	}
	others, err := credentials(tx, "id").
		Where("Owner.is_admin = ? AND Owner.state = ? AND Owner.id <> ?", true, string(account.Active), id).
		Limit(1).Find(ctx)
	if err == nil && len(others) == 0 {
		return ErrLastAdmin
	}
	return err
}

// tombstoneRow is what remains of a deleted user.
type tombstoneRow struct {
	ID         string `gorm:"primaryKey"`
	DeleteTime time.Time
	Version    int64
}

func (tombstoneRow) TableName() string { return "user_tombstones" }

// deleteUser deletes all rows of a user, and adds a tombstone.
func deleteUser(ctx context.Context, tx *gorm.DB, user account.User) error {
	if _, err := gorm.G[sessionRow](tx).Where("user_id = ?", user.ID).Delete(ctx); err != nil {
		return err
	}
	if _, err := gorm.G[credentialRow](tx).Where("user_id = ?", user.ID).Delete(ctx); err != nil {
		return err
	}
	if _, err := gorm.G[signUpRow](tx).Where("user_id = ?", user.ID).Delete(ctx); err != nil {
		return err
	}
	if _, err := gorm.G[userRow](tx).Where("id = ?", user.ID).Delete(ctx); err != nil {
		return err
	}
	tombstone := tombstoneRow{ID: user.ID, DeleteTime: user.UpdateTime, Version: user.Version}
	return gorm.G[tombstoneRow](tx).Create(ctx, &tombstone)
}

// eventsOf returns the events of a change.
func eventsOf(before account.User, changed UserChange) []Event {
	after := changed.User
	if changed.Delete {
		return []Event{{Kind: UserDeleted}}
	}
	var events []Event
	if fields := profileChanges(before, after); len(fields) > 0 {
		events = append(events, Event{Kind: UserUpdated, Details: map[string]string{"fields": strings.Join(fields, ",")}})
	}
	if before.Admin != after.Admin {
		roles := "user"
		if after.Admin {
			roles = "admin,user"
		}
		events = append(events, Event{Kind: RolesSet, Details: map[string]string{"roles": roles}})
	}
	switch {
	case before.State != after.State && after.State == account.Disabled:
		events = append(events, Event{Kind: UserDisabled})
	case before.State != after.State:
		events = append(events, Event{Kind: UserEnabled})
	}
	if changed.PasswordHash != "" {
		return append(events, Event{Kind: PasswordReset})
	}
	if before.State == after.State && before.SessionGeneration != after.SessionGeneration {
		events = append(events, Event{Kind: LogoutEverywhere})
	}
	return events
}

// profileChanges returns the names, in the contract, of the fields of the profile that differ.
func profileChanges(before, after account.User) []string {
	var fields []string
	for _, field := range []struct{ name, before, after string }{
		{"full_name", before.FullName, after.FullName},
		{"locale", before.Locale, after.Locale},
		{"time_zone", before.TimeZone, after.TimeZone},
		{"picture_uri", before.PictureURI, after.PictureURI},
		{"metadata", before.Metadata, after.Metadata},
		{"app_metadata", before.AppMetadata, after.AppMetadata},
	} {
		if field.before != field.after {
			fields = append(fields, field.name)
		}
	}
	return fields
}
