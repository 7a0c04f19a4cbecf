//go:build servers

package storage

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// feedHeadStatements returns the statements of the migration for MySQL, each of which commits by itself.
func (d formerDatabase) feedHeadStatements(t *testing.T) []string {
	t.Helper()
	folder, _ := d.dialect.Migrations()
	content, err := fs.ReadFile(folder, "00013_move_feed_head.sql")
	if err != nil {
		t.Fatal(err)
	}
	up, _, _ := strings.Cut(string(content), "-- +goose Down")
	statements := strings.SplitAfter(up, ";\n")
	return statements[:len(statements)-1]
}

// TestFeedHeadMigrationMySQL: the process that migrates dies after each statement, while a store of the version before
// adds changes as long as it finds its guard.
func TestFeedHeadMigrationMySQL(t *testing.T) {
	former := newFormerDatabase(t, newMariaDB(t))
	last := int64(5)
	former.sequence(t, 1, last)
	for done := range former.feedHeadStatements(t) {
		t.Run(fmt.Sprintf("it_dies_after_%d_statements", done+1), func(t *testing.T) {
			for _, statement := range former.feedHeadStatements(t)[:done+1] {
				exec(t, former.Storage, statement)
				if len(texts(t, former.Storage, "SELECT name FROM guards WHERE name = 'feed'")) > 0 {
					former.sequence(t, last+1, last+1)
					last++
				}
			}
			former.wantNext(t, last)
			last++
			if _, err := former.provider(t).DownTo(t.Context(), feedHeadVersion-1); err != nil {
				t.Fatal(err)
			}
		})
	}
}
