//go:build servers

package storage

import (
	"context"
	"testing"
	"time"
)

func TestSequenceChangesMySQL(t *testing.T) {
	t.Run("a_late_commit_is_not_skipped", testSequenceChangesMySQLALateCommitIsNotSkipped)
	t.Run("a_conflict_is_left_to_the_other", testSequenceChangesMySQLAConflictIsLeftToTheOther)
}

// testSequenceChangesMySQLALateCommitIsNotSkipped: the one with the lower id comes second, and keeps nobody waiting.
func testSequenceChangesMySQLALateCommitIsNotSkipped(t *testing.T) {
	config := newMariaDB(t) // SQLite has one writer at a time.
	s, other := openNew(t, config), open(t, config)
	for round := range int64(3) { // With few rows in the table, and with the marks of deleted ones.
		late, err := other.pool.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tellIn(t, late, 100+round)
		// It holds the guard of another rule, too, which is a neighbour of the feed's.
		if _, err := late.ExecContext(t.Context(), "UPDATE guards SET changes = changes + 1 WHERE name = 'admins'"); err != nil {
			t.Fatal(err)
		}
		tell(t, s, 1, 1+round)
		deadline, cancel := context.WithTimeout(t.Context(), 4*time.Second) // Less than any wait for a lock.
		sequenced, err := s.SequenceChanges(deadline, 500)
		cancel()
		if err != nil || sequenced != int(1+round) {
			t.Fatalf("%d got a place while another was open, %v", sequenced, err)
		}
		state, err := s.ReadFeedState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := late.Commit(); err != nil {
			t.Fatal(err)
		}
		sequenceAll(t, s)
		wantFeed(t, s, state.Last, 100+round)
	}
}

// testSequenceChangesMySQLAConflictIsLeftToTheOther: who waits too long for the lock has nothing to say, and comes
// again.
func testSequenceChangesMySQLAConflictIsLeftToTheOther(t *testing.T) {
	config := newMariaDB(t)
	s, other := openNew(t, config), open(t, config)
	tell(t, s, 1, 1)
	tx, err := other.pool.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "UPDATE feed_head SET sequence = sequence"); err != nil {
		t.Fatal(err)
	}
	if sequenced, err := s.SequenceChanges(t.Context(), 500); err != nil || sequenced != 0 {
		t.Errorf("%d got a place, %v", sequenced, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	sequenceAll(t, s)
	wantFeed(t, s, 0, 1)
}
