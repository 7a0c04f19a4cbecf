package storage

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// feedConformance is what every database must do for the feed.
var feedConformance = []conformanceCase{
	{"every act that changes a version is in the feed", everyVersionIsInTheFeed},
	{"changes get their places once, in order", changesInOrder},
	{"a feed that is pruned says so", prunedFeed},
	{"pruning leaves no holes", pruningWithoutHoles},
	{"changes that wait tell since when", oldestChange},
	{"epochs differ", epochs},
}

// rowVersions returns the versions of all users and sessions, by their ids; 0 where a session has ended.
type rowVersions map[Change]int64

func versionsOf(t *testing.T, s *Storage) rowVersions {
	t.Helper()
	found := rowVersions{}
	rows, err := s.pool.QueryContext(t.Context(), `SELECT id, '', version FROM users
		UNION ALL SELECT user_id, id, CASE WHEN end_time IS NULL THEN version ELSE 0 END FROM sessions`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var change Change
		var version int64
		if err := rows.Scan(&change.UserID, &change.SessionID, &version); err != nil {
			t.Fatal(err)
		}
		found[change] = version
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// changesBy does an act, and gives the changes that it has made to what was there before.
func changesBy(t *testing.T, s *Storage, act act) []Change {
	t.Helper()
	before := versionsOf(t, s)
	if err := act.do(withOrigin(t.Context())); err != nil {
		t.Fatal(err)
	}
	after := versionsOf(t, s)
	var changes []Change
	for entry, version := range before {
		now, there := after[entry]
		if now != version && (there || entry.SessionID == "") { // Sessions go with their user.
			entry.Version, entry.Ended = now, now == 0
			changes = append(changes, entry)
		}
	}
	return sorted(changes)
}

func sorted(changes []Change) []Change {
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.SessionID, b.SessionID))
	})
	return changes
}

// waitingChanges are those that have no place yet, by what they are about.
func waitingChanges(t *testing.T, s *Storage) []Change {
	t.Helper()
	var rows []changeRow
	if err := s.db.WithContext(t.Context()).Find(&rows).Error; err != nil {
		t.Fatal(err)
	}
	var changes []Change
	for _, row := range rows {
		changes = append(changes, Change{UserID: row.UserID, SessionID: row.SessionID, Version: row.Version, Ended: row.Ended})
	}
	return sorted(changes)
}

func everyVersionIsInTheFeed(t *testing.T, s *Storage) {
	received := 0
	for name, prepare := range acts {
		act := prepare(t, cleared(t, s))
		exec(t, s, "DELETE FROM changes")
		wanted := changesBy(t, s, act)
		if got := waitingChanges(t, s); !slices.Equal(got, wanted) {
			t.Errorf("%s: received is\n%+v\nwanted is\n%+v", name, got, wanted)
		}
		received += len(wanted)
	}
	if received < len(acts)/2 {
		t.Errorf("%d changes: this tests nothing", received)
	}
}

func cleared(t *testing.T, s *Storage) *Storage {
	t.Helper()
	clearTables(t, s)
	return s
}

// tell writes changes of users, one of each version from first to last, in a transaction for each.
func tell(t *testing.T, s *Storage, first, last int64) {
	t.Helper()
	for version := first; version <= last; version++ {
		if err := appendChange(t.Context(), s.db, Change{UserID: filledID(1), Version: version}); err != nil {
			t.Fatal(err)
		}
	}
}

// sequenceAll returns all that wait their places.
func sequenceAll(t *testing.T, s *Storage) {
	t.Helper()
	for {
		sequenced, err := s.SequenceChanges(t.Context(), 500)
		if err != nil {
			t.Fatal(err)
		}
		if sequenced == 0 {
			return
		}
	}
}

// wantFeed requires these versions after a sequence.
func wantFeed(t *testing.T, s *Storage, after int64, versions ...int64) {
	t.Helper()
	changes, err := s.ListChanges(t.Context(), after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for i, change := range changes {
		if change.Sequence != after+int64(i)+1 {
			t.Errorf("sequence %d is in the place of %d", change.Sequence, after+int64(i)+1)
		}
		got = append(got, change.Version)
	}
	if !slices.Equal(got, versions) {
		t.Errorf("the feed after %d has %v, want %v", after, got, versions)
	}
}

func wantLast(t *testing.T, s *Storage, last int64) {
	t.Helper()
	if state, err := s.ReadFeedState(t.Context()); err != nil || state.Last != last || state.Epoch == "" {
		t.Errorf("the feed is at %+v, want %d, %v", state, last, err)
	}
}

func changesInOrder(t *testing.T, s *Storage) {
	wantLast(t, s, 0)
	sequenceAll(t, s)
	tell(t, s, 1, 5)
	if sequenced, err := s.SequenceChanges(t.Context(), 3); err != nil || sequenced != 3 {
		t.Errorf("%d got a place, %v", sequenced, err)
	}
	wantLast(t, s, 3)
	sequenceAll(t, s)
	sequenceAll(t, s)
	wantLast(t, s, 5)
	wantFeed(t, s, 0, 1, 2, 3, 4, 5)
	wantFeed(t, s, 3, 4, 5)
	user := addUser(t, s, "ada@example.com")
	if err := change(s, user, func(change *UserChange) { change.Delete = true })(t.Context()); err != nil {
		t.Fatal(err)
	}
	sequenceAll(t, s)
	got, err := s.ListChanges(t.Context(), 5, 1)
	if err != nil || len(got) != 1 || got[0].CreateTime.Location() != time.UTC ||
		got[0] != (Change{Sequence: 6, UserID: user.ID, Ended: true, CreateTime: got[0].CreateTime}) {
		t.Errorf("a deletion is received as %+v, %v", got, err)
	}
}

func prunedFeed(t *testing.T, s *Storage) {
	tell(t, s, 1, 5)
	sequenceAll(t, s)
	if deleted, err := s.DeleteChanges(t.Context(), s.Now().Add(time.Hour), 3); err != nil || deleted != 3 {
		t.Errorf("%d are deleted, %v", deleted, err)
	}
	_, err := s.ListChanges(t.Context(), 2, 10)
	want(t, err, ErrCursorExpired)
	wantFeed(t, s, 3, 4, 5)
	if deleted, err := s.DeleteChanges(t.Context(), s.Now().Add(time.Hour), 3); err != nil || deleted != 2 {
		t.Errorf("%d are deleted, %v", deleted, err)
	}
	_, err = s.ListChanges(t.Context(), 4, 10)
	want(t, err, ErrCursorExpired)
	wantLast(t, s, 5)
	tell(t, s, 6, 6)
	sequenceAll(t, s)
	wantFeed(t, s, 5, 6)
}

func pruningWithoutHoles(t *testing.T, s *Storage) {
	tell(t, s, 1, 5)
	sequenceAll(t, s)
	exec(t, s, "UPDATE feed SET sequence_time = ? WHERE sequence = 3", toMicros(s.Now().Add(-2*time.Hour))) // Another clock.
	if deleted, err := s.DeleteChanges(t.Context(), s.Now().Add(-time.Hour), 1000); err != nil || deleted != 3 {
		t.Errorf("%d are deleted, %v", deleted, err)
	}
	wantFeed(t, s, 3, 4, 5)
	if deleted, err := s.DeleteChanges(t.Context(), s.Now().Add(-time.Hour), 1000); err != nil || deleted != 0 {
		t.Errorf("%d are deleted, %v", deleted, err)
	}
}

func oldestChange(t *testing.T, s *Storage) {
	if _, waiting, err := s.readOldestChange(t.Context()); err != nil || waiting {
		t.Errorf("something waits: %t, %v", waiting, err)
	}
	before := s.Now()
	tell(t, s, 1, 2)
	since, waiting, err := s.readOldestChange(t.Context())
	// The clocks were compared over a connection, and SQLite's has milliseconds.
	if err != nil || !waiting || since.Before(before.Add(-time.Second)) || since.After(s.Now().Add(time.Second)) {
		t.Errorf("waiting is %t since %v, made after %v, %v", waiting, since, before, err)
	}
}

func epochs(t *testing.T, s *Storage) {
	first, err := s.ReadFeedState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, after, err := s.BumpEpoch(t.Context())
	if err != nil || before != first.Epoch || after == before || after == "" {
		t.Errorf("%q became %q, of %q, %v", before, after, first.Epoch, err)
	}
	if now, err := s.ReadFeedState(t.Context()); err != nil || now.Epoch != after {
		t.Errorf("the epoch is %+v, %v", now, err)
	}
}

func tellIn(t *testing.T, tx *sql.Tx, version int64) {
	t.Helper()
	_, err := tx.ExecContext(t.Context(), "INSERT INTO changes (user_id, session_id, version, ended) VALUES ('u', '', ?, 0)",
		version)
	if err != nil {
		t.Fatal(err)
	}
}

func TestSequenceChanges(t *testing.T) {
	t.Run("concurrent_sequencers_give_each_change_one_place", testConcurrentSequencersGiveEachChangeOnePlace)
}

// testConcurrentSequencersGiveEachChangeOnePlace: several stores write and put in order at once, while a follower
// reads.
func testConcurrentSequencersGiveEachChangeOnePlace(t *testing.T) {
	const writers, each = 4, 100
	onEach(t, func(t *testing.T, config Config) {
		stores := []*Storage{openNew(t, config), open(t, config), open(t, config)}
		var writing atomic.Int64
		writing.Store(writers)
		followed := make(chan []Change, 1)
		go func() { followed <- follow(t, stores[0], writers*each) }()
		errs := race(writers+len(stores), func(i int) error {
			if i >= writers {
				return sequenceWhile(t.Context(), stores[i-writers], func() bool { return writing.Load() > 0 })
			}
			defer writing.Add(-1)
			for n := range each {
				err := stores[i%3].write(t.Context(), func(db *gorm.DB) error {
					return appendChange(t.Context(), db, Change{UserID: filledID(i), Version: int64(n + 1)})
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		sequenceAll(t, stores[0])
		seen := map[Change]bool{}
		for _, change := range <-followed {
			seen[Change{UserID: change.UserID, Version: change.Version}] = true
		}
		if len(seen) != writers*each {
			t.Errorf("the follower received %d changes, not %d", len(seen), writers*each)
		}
		wantLast(t, stores[1], writers*each)
	})
}

func sequenceWhile(ctx context.Context, s *Storage, busy func() bool) error {
	for busy() {
		if _, err := s.SequenceChanges(ctx, 7); err != nil {
			return err
		}
	}
	return nil
}

// follow reads the feed until it has so many changes.
func follow(t *testing.T, s *Storage, wanted int) []Change {
	var all []Change
	testkit.Eventually(t, func() error {
		state, err := s.ReadFeedState(t.Context())
		if err != nil {
			return err
		}
		if state.Last > int64(len(all)) {
			changes, err := s.ListChanges(t.Context(), int64(len(all)), 10)
			if err != nil {
				return err
			}
			all = append(all, changes...)
		}
		if len(all) < wanted {
			return fmt.Errorf("received %d", len(all))
		}
		return nil
	})
	return all
}
