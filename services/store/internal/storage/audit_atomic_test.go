package storage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestAppendEvent(t *testing.T) {
	t.Run("commits_with_its_act_or_not_at_all", testAppendEventCommitsWithItsActOrNotAtAll)
	t.Run("a_failed_commit_leaves_neither", testAppendEventAFailedCommitLeavesNeither)
}

// testAppendEventCommitsWithItsActOrNotAtAll makes each act fail at every place where it writes, and requires that it has
// left nothing then; and that, where nothing failed, both are there.
func testAppendEventCommitsWithItsActOrNotAtAll(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		for _, name := range slices.Sorted(maps.Keys(acts)) {
			t.Run(name, func(t *testing.T) {
				clearTables(t, s)
				failed := map[string]int{}
				for _, fault := range faultsOf(acts[name](t, s)) {
					if failWith(t, s, name, fault) {
						failed[fault.table]++
					}
				}
				act := acts[name](t, cleared(t, s))
				if failed["audit_events"] == 0 && len(act.wanted) > 0 {
					t.Error("it does not depend on its event")
				}
				if failed["changes"] == 0 && len(changesBy(t, s, act)) > 0 {
					t.Error("it does not depend on its change")
				}
				if len(failed) < 2 && name != "a refusal" {
					t.Errorf("it failed at %v only", failed)
				}
				wantBoth(t, s, name)
			})
		}
	})
}

// fault makes an operation on a table fail: after it was done, so that it has to be undone.
type fault struct {
	table, operation string
	kind             EventKind // only for events of this kind, where that is not ""
}

// faultsOf are those that an act can have.
func faultsOf(act act) []fault {
	var all []fault
	for operation, written := range map[string][]string{
		"INSERT": tables,
		"UPDATE": {"users", "sessions", "credentials", "sign_up_requests"},
		"DELETE": {"users", "sessions", "credentials", "signing_keys"},
	} {
		for _, table := range written {
			all = append(all, fault{table: table, operation: operation})
		}
	}
	if len(act.wanted) > 1 {
		for _, event := range act.wanted { // One by one.
			all = append(all, fault{"audit_events", "INSERT", event.Kind})
		}
	}
	return all
}

// inject makes a trigger, and remove takes it away.
func (f fault) inject(t *testing.T, s *Storage) (remove func()) {
	t.Helper()
	head := fmt.Sprintf("CREATE TRIGGER fault AFTER %s ON %s FOR EACH ROW ", f.operation, f.table)
	condition := "1 = 1"
	if f.kind != "" {
		condition = "NEW.kind = '" + string(f.kind) + "'"
	}
	if s.writer == nil {
		exec(t, s, head+"IF "+condition+" THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'fault'; END IF")
	} else {
		exec(t, s, head+"WHEN "+condition+" BEGIN SELECT RAISE(ABORT, 'fault'); END") // It undoes the statement.
	}
	return func() { exec(t, s, "DROP TRIGGER fault") }
}

// failWith does an act with a fault, and tells whether it failed of it.
func failWith(t *testing.T, s *Storage, name string, fault fault) bool {
	t.Helper()
	clearTables(t, s)
	act := acts[name](t, s)
	before := dump(t, s)
	remove := fault.inject(t, s)
	err := act.do(withOrigin(t.Context()))
	remove()
	if err == nil {
		return false
	}
	if !strings.Contains(err.Error(), "fault") {
		t.Errorf("%+v: error is %v", fault, err)
	}
	if after := dump(t, s); after != before {
		t.Errorf("%+v: before it failed there was\n%s\nafter there is\n%s", fault, before, after)
	}
	return true
}

// wantBoth does an act, and requires that it has changed something beside the events.
func wantBoth(t *testing.T, s *Storage, name string) {
	t.Helper()
	clearTables(t, s)
	act := acts[name](t, s)
	events, before := listEvents(t, s, EventFilter{}), dump(t, s, "audit_events", "changes")
	if err := act.do(withOrigin(t.Context())); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, name, newEvents(t, s, events), act.wanted)
	if dump(t, s, "audit_events", "changes") == before && name != "a refusal" {
		t.Error("it has changed nothing, and has an event")
	}
}

// testAppendEventAFailedCommitLeavesNeither: a constraint that is checked when the transaction is committed fails then.
func testAppendEventAFailedCommitLeavesNeither(t *testing.T) {
	s := openNew(t, newSQLite(t)) // MySQL checks no constraint so late.
	exec(t, s, "CREATE TABLE late (id TEXT REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)")
	for name, prepare := range acts {
		clearTables(t, s)
		act := prepare(t, s)
		if len(act.wanted) == 0 {
			continue
		}
		before := dump(t, s)
		exec(t, s, "CREATE TRIGGER fault AFTER INSERT ON audit_events BEGIN INSERT INTO late VALUES ('nobody'); END")
		if err := act.do(withOrigin(t.Context())); err == nil {
			t.Errorf("%s: it was committed", name)
		}
		exec(t, s, "DROP TRIGGER fault")
		if after := dump(t, s); after != before {
			t.Errorf("%s: before it failed there was\n%s\nafter there is\n%s", name, before, after)
		}
		if err := act.do(withOrigin(t.Context())); err != nil { // The connection is not stuck in the transaction.
			t.Errorf("%s: after it failed: %v", name, err)
		}
	}
}

// dump is all that is in the tables, but those left out.
func dump(t *testing.T, s *Storage, without ...string) string {
	t.Helper()
	var text strings.Builder
	for _, table := range tables {
		if slices.Contains(without, table) {
			continue
		}
		rows, err := s.pool.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY 1") //nolint:unqueryvet // all that is there
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(&text, table)
			for _, value := range values {
				fmt.Fprintf(&text, " %v", *value.(*any))
			}
			fmt.Fprintln(&text)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return text.String()
}
