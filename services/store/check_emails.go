package store

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// emailConflict is a line that CheckEmails writes. Each user logs in with the spelling of the address that is written
// here; all other spellings are those of User.
type emailConflict struct {
	User  conflictingUser `json:"user"`
	Other conflictingUser `json:"otherUser"`
}

type conflictingUser struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// CheckEmails brings the canonical e-mail address of every user to that of this version, which it is not where a store
// of an earlier version has written it since the migration. It writes each two users who have one e-mail address as a
// line of JSON, leaves both as they are, and reports how many were changed and how many conflict.
func CheckEmails(
	ctx context.Context, database Database, to io.Writer, log *slog.Logger,
) (changed, conflicts int, err error) {
	db, err := storage.Open(ctx, database, log)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	changed, err = db.CheckEmails(ctx, func(found storage.EmailConflict) error {
		conflicts++
		return encoder.Encode(emailConflict{
			User:  conflictingUser{found.UserID, found.Email},
			Other: conflictingUser{found.OtherUserID, found.OtherEmail},
		})
	})
	return changed, conflicts, err
}
