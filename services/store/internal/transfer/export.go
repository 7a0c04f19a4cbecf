package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// exportPage is how many rows are read from the database at a time: what is held in memory.
const exportPage = 500

// ExportUsers writes every user as a line of JSON, in the order of the ids, and returns how many there are. Users who
// are created meanwhile may be among them or not. Password hashes are written only withHashes.
func ExportUsers(ctx context.Context, db *storage.Storage, withHashes bool, to io.Writer) (users int, err error) {
	return exportLines(to, func(last *account.UserWithHash) ([]account.UserWithHash, error) {
		after := ""
		if last != nil {
			after = last.User.ID
		}
		return db.ExportUsers(ctx, after, exportPage, withHashes)
	}, func(user account.UserWithHash) any { return newUserRecord(user) })
}

// exportLines writes the rows of all pages as lines of JSON, and returns how many. It calls page with the last row of
// the page before, or nil, until page returns less than exportPage.
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
