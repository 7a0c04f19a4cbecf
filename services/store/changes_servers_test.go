//go:build servers

package store

import (
	"database/sql"
	"strings"
	"testing"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
)

// connect opens the database of a store of MariaDB behind its back.
func connect(t *testing.T) (storeconfig.Database, *sql.DB) {
	t.Helper()
	url := mariaDB.NewDatabase(t)
	db, err := mariaDB.Server(t).Open(url[strings.LastIndexByte(url, '/')+1:])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return storeconfig.Database{URL: url}, db
}

// hold executes a statement in a transaction that stays open.
func hold(t *testing.T, db *sql.DB, statement string) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestWatchChangesLateCommit(t *testing.T) {
	database, db := connect(t) // SQLite has one writer at a time.
	store := startStore(t, testConfig(database, newClock()))
	ada := store.signUp(t).GetId()
	stream, _ := store.watch(t, "", 0)
	late := hold(t, db, "INSERT INTO changes (user_id, session_id, version, ended) VALUES ('late', '', 7, 0)")
	wantChange(t, stream, store.endSessions(t, ada, 2))
	if idle := receive(t, stream); len(idle.GetChanges()) != 0 || idle.GetLagMilliseconds() != 0 { // A heartbeat later.
		t.Errorf("what is not committed is sent: %v", idle)
	}
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	wantChange(t, stream, &internalv1.Change{UserId: "late", Version: 7})
}

func TestWatchChangesLag(t *testing.T) {
	database, db := connect(t)
	store := startStore(t, testConfig(database, newClock()))
	ada := store.signUp(t).GetId()
	stream, _ := store.watch(t, "", 0)
	other := hold(t, db, "UPDATE feed_head SET sequence = sequence")
	change := store.endSessions(t, ada, 2)
	for lag := int64(0); lag < 1000; {
		response := receive(t, stream)
		if len(response.GetChanges()) != 0 {
			t.Fatalf("it does not stand still: %v", response)
		}
		lag = response.GetLagMilliseconds()
	}
	if err := other.Rollback(); err != nil {
		t.Fatal(err)
	}
	if response := wantChange(t, stream, change); response.GetLagMilliseconds() != 0 {
		t.Errorf("all is sent, and it says %v", response)
	}
}

func TestWatchChangesBatches(t *testing.T) {
	const maxBatch = 500 // as the contract promises
	database, db := connect(t)
	store := startStore(t, testConfig(database, newClock()))
	stream, first := store.watch(t, "", 0)
	insert := "INSERT INTO changes (user_id, session_id, version, ended) VALUES ('many', '', 2, 0)" +
		strings.Repeat(", ('many', '', 2, 0)", 2*maxBatch)
	if err := hold(t, db, insert).Commit(); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for sent <= 2*maxBatch {
		response := receive(t, stream)
		sent += len(response.GetChanges())
		if len(response.GetChanges()) > maxBatch || response.GetCursor() != first.GetCursor()+int64(sent) {
			t.Fatalf("%d changes are sent up to %d", len(response.GetChanges()), response.GetCursor())
		}
	}
	_, parts := store.watch(t, first.GetEpoch(), 1)
	if len(parts.GetChanges()) != maxBatch || parts.GetCursor() != 1+maxBatch || parts.GetIncomplete() {
		t.Errorf("who is behind is sent %d changes up to %d", len(parts.GetChanges()), parts.GetCursor())
	}
}

func TestWatchChangesDatabaseDown(t *testing.T) {
	database, _ := connect(t)
	store := startStore(t, testConfig(database, newClock()))
	ada := store.signUp(t).GetId()
	stream, first := store.watch(t, "", 0)
	mariaDB.Server(t).Kill()
	wantReason(t, streamEnd(stream), unavailable)
	if err := mariaDB.Server(t).Start(); err != nil {
		t.Fatal(err)
	}
	store.endSessions(t, ada, 2)
	stream, _ = store.watch(t, first.GetEpoch(), first.GetCursor())
	store.endSessions(t, ada, 3)
	for sent := int64(0); sent < 3; {
		for _, change := range receive(t, stream).GetChanges() {
			sent = change.GetVersion()
		}
	}
}
