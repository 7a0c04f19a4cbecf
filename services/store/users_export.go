package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// exportPage is how much is read from the database at a time, in rows: what is held in memory.
const exportPage = 500

// ExportUsers writes every user as a line of JSON, in the order of the ids, and tells how many. Who is made meanwhile
// may be there or not. Password hashes are written only withHashes.
func ExportUsers(
	ctx context.Context, database Database, withHashes bool, to io.Writer, log *slog.Logger,
) (users int, err error) {
	db, err := storage.Open(ctx, database, log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return exportLines(to, func(last *account.UserWithHash) ([]account.UserWithHash, error) {
		after := ""
		if last != nil {
			after = last.User.ID
		}
		return db.ExportUsers(ctx, after, exportPage, withHashes)
	}, func(user account.UserWithHash) any { return newUserRecord(user) })
}

// exportLines writes what page gives as lines of JSON, and tells how many. page is given the last one of the page
// before, or nil, until it gives less than exportPage.
func exportLines[T any](to io.Writer, page func(last *T) ([]T, error), record func(T) any) (lines int, err error) {
	buffered := bufio.NewWriterSize(to, 64<<10)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	var last *T
	for {
		rows, err := page(last)
		if err != nil {
			return lines, errors.Join(err, buffered.Flush())
		}
		for _, row := range rows {
			if err := encoder.Encode(record(row)); err != nil {
				return lines, err
			}
			lines++
		}
		if len(rows) < exportPage {
			return lines, buffered.Flush()
		}
		last = &rows[len(rows)-1]
	}
}
