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

// UserChange is what becomes of a user.
type UserChange struct {
	User         account.User // the profile, state, role and session generation after the change; the rest is not looked at
	PasswordHash string       // replaces the present one, if there is one; "" leaves it
	Delete       bool         // deletes the user, whatever else is said
}

// maxUserChanges bounds how often a change of a user is decided anew because another was faster. Unlike those of a
// session, all who race change something, so that they wait in between: some three seconds in all, enough for fifty.
const maxUserChanges = 32

// errOutrun is a change that was decided on a version which is not the present one any more.
var errOutrun = errors.New("another change was faster")

// ChangeUser reads a user, lets change decide what becomes of the user, and writes that with the next version, if there
// is a difference. If another change was faster, it begins again: change may be called several times, and each time
// decides on what was committed. It gives back the user after the change; one who was deleted with the version of the
// tombstone.
//
// It fails with ErrNotFound if there is no such user, with ErrLastAdmin if the change would leave no active admin, with
// a TooManyChangesError, and with the error of change, unaltered; then nothing is written.
func (s *Storage) ChangeUser(
	ctx context.Context, id string, now time.Time, change func(account.User) (UserChange, error),
) (account.User, error) {
	wait := newBackOff()
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
		err = s.write(ctx, func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				if err := writeUser(ctx, tx, before, changed); err != nil || changed.Delete {
					return err
				}
				return s.admitOwnChange(ctx, tx, UserUpdated, id, now)
			})
		})
		if !errors.Is(err, errOutrun) || !wait.pause(ctx) {
			return after, s.explain(ctx, "change user "+id, err, nil)
		}
	}
	return account.User{}, fmt.Errorf("change user %s: %w: others were faster %d times", id, ErrUnavailable, maxUserChanges)
}

// withIdentityOf returns the user after a change, with the fields of the user before that no change is about.
func withIdentityOf(before, after account.User) account.User {
	after.ID, after.Email, after.CreateTime, after.UpdateTime = before.ID, before.Email, before.CreateTime, before.UpdateTime
	after.Version = before.Version
	return after
}

func writeUser(ctx context.Context, tx *gorm.DB, before account.User, changed UserChange) error {
	after := changed.User
	if before.IsActiveAdmin() && (changed.Delete || !after.IsActiveAdmin()) {
		if err := guardAdmins(tx, before.ID); err != nil {
			return err
		}
	}
	// The user first, here as everywhere: it is what others wait for.
	row := userRowOf(after)
	err := onlyOne(tx.Model(&userRow{}).Where("id = ? AND version = ?", before.ID, before.Version).
		Select("full_name", "locale", "time_zone", "picture_uri", "metadata", "app_metadata", "update_time", "version",
			"state", "is_admin", "session_generation").
		Updates(&row))
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return errOutrun
	case err != nil:
		return err
	case changed.Delete:
		err = deleteUser(tx, after)
	case changed.PasswordHash != "":
		err = setPassword(tx, before.ID, changed.PasswordHash)
	}
	if err != nil {
		return err
	}
	if after.SessionGeneration != before.SessionGeneration {
		if err := expirePastSessions(tx, after, after.UpdateTime); err != nil {
			return err
		}
	}
	err = appendChange(tx, Change{UserID: before.ID, Version: after.Version, Ended: changed.Delete})
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

// setPassword writes the hash of a user's password. Who was imported may have had none.
func setPassword(tx *gorm.DB, userID, hash string) error {
	err := onlyOne(tx.Model(&credentialRow{}).Where("user_id = ?", userID).Update("password_hash", hash))
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return tx.Create(&credentialRow{UserID: userID, PasswordHash: hash}).Error
	}
	return err
}

// guardAdmins fails with ErrLastAdmin if there is no active admin but this one who has a password to log in with. Of
// several who ask, each waits until the one before has committed; in a cluster, whose nodes do not know of each other's
// locks, the guard makes all but one fail at commit. The guard comes before any read, so that what is read is no older.
func guardAdmins(tx *gorm.DB, id string) error {
	if err := onlyOne(tx.Exec("UPDATE guards SET changes = changes + 1 WHERE name = 'admins'")); err != nil {
		return err
	}
	var others []string
	err := tx.Raw(`SELECT u.id FROM users u JOIN credentials c ON c.user_id = u.id
		WHERE u.is_admin = ? AND u.state = ? AND u.id <> ? LIMIT 1`, true, string(account.Active), id).Scan(&others).Error
	if err == nil && len(others) == 0 {
		return ErrLastAdmin
	}
	return err
}

// deleteUser deletes all that is known of a user, and leaves a tombstone.
func deleteUser(tx *gorm.DB, user account.User) error {
	for _, statement := range []string{
		"DELETE FROM sessions WHERE user_id = ?", "DELETE FROM credentials WHERE user_id = ?",
		"DELETE FROM sign_up_requests WHERE user_id = ?", "DELETE FROM users WHERE id = ?",
	} {
		if err := tx.Exec(statement, user.ID).Error; err != nil {
			return err
		}
	}
	return tx.Exec("INSERT INTO user_tombstones (id, delete_time, version) VALUES (?, ?, ?)",
		user.ID, user.UpdateTime, user.Version).Error
}

// eventsOf tells of a change, by what is different.
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

// profileChanges names the fields of the profile that differ, as the contract does.
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
