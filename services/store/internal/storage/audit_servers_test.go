//go:build servers

package storage

import (
	"fmt"
	"testing"

	"gorm.io/gorm"
)

func TestAppendEventMySQL(t *testing.T) {
	t.Run("a_connection_that_dies_before_the_commit_leaves_neither", testAConnectionThatDiesBeforeTheCommitLeavesNeither)
}

// testAConnectionThatDiesBeforeTheCommitLeavesNeither: the server forgets the transaction.
func testAConnectionThatDiesBeforeTheCommitLeavesNeither(t *testing.T) {
	config := newMariaDB(t)
	s, killer := openNew(t, config), open(t, config)
	armed := false
	kill := func(db *gorm.DB) {
		if !armed || db.Statement.Table != "audit_events" || db.Error != nil {
			return
		}
		var id int
		query := "SELECT CONNECTION_ID()"
		if err := db.Statement.ConnPool.QueryRowContext(t.Context(), query).Scan(&id); err != nil {
			t.Error(err)
		}
		exec(t, killer, fmt.Sprint("KILL CONNECTION ", id))
	}
	if err := s.db.Callback().Create().After("gorm:create").Register("kill", kill); err != nil {
		t.Fatal(err)
	}
	for name, prepare := range acts {
		clearTables(t, s)
		act := prepare(t, s)
		if name == "a refusal" || len(act.wanted) == 0 { // It is one statement, or the last one is another.
			continue
		}
		before := dump(t, s)
		armed = true
		want(t, act.do(withOrigin(t.Context())), ErrUnavailable)
		armed = false
		if after := dump(t, s); after != before {
			t.Errorf("%s: before it failed there was\n%s\nafter there is\n%s", name, before, after)
		}
	}
}
