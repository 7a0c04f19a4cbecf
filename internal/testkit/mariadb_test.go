//go:build servers

package testkit_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func TestMariaDB(t *testing.T) {
	server := testkit.StartMariaDB(t)
	if err := server.CreateDatabase("kept"); err != nil {
		t.Fatal(err)
	}
	address := server.URL("kept")
	db := openKept(t, server)

	t.Run("refuses_a_second_database_of_the_same_name", func(t *testing.T) {
		if err := server.CreateDatabase("kept"); err == nil {
			t.Fatal("no error")
		}
	})
	t.Run("listens_on_loopback_where_its_URL_says", func(t *testing.T) {
		parsed, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Scheme != "mysql" || parsed.User.String() != "root" || parsed.Path != "/kept" ||
			!net.ParseIP(parsed.Hostname()).IsLoopback() {
			t.Fatalf("URL = %s", address)
		}
		if err := testkit.Listening(parsed.Host)(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("does_not_answer_while_frozen", func(t *testing.T) { freezeMariaDB(t, server, db) })
	t.Run("keeps_data_and_port_when_killed", func(t *testing.T) {
		server.Kill()
		if err := db.PingContext(t.Context()); err == nil {
			t.Fatal("a killed server answers")
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		wantKept(t, server, db, address)
	})
	t.Run("keeps_data_and_port_when_stopped", func(t *testing.T) {
		if code, err := server.Stop(); err != nil || code != 0 {
			t.Fatalf("Stop = %d, %v", code, err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		wantKept(t, server, db, address)
	})
}

// openKept opens the database, with a row in it.
func openKept(t *testing.T, server *testkit.MariaDB) *sql.DB {
	t.Helper()
	db, err := server.Open("kept")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, statement := range []string{"CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (7)"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func wantKept(t *testing.T, server *testkit.MariaDB, db *sql.DB, address string) {
	t.Helper()
	var id int
	if err := db.QueryRowContext(t.Context(), "SELECT id FROM t").Scan(&id); err != nil || id != 7 {
		t.Errorf("id = %d, %v", id, err)
	}
	if got := server.URL("kept"); got != address {
		t.Errorf("URL = %s, was %s", got, address)
	}
}

func freezeMariaDB(t *testing.T, server *testkit.MariaDB, db *sql.DB) {
	t.Helper()
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := db.PingContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the ping of a frozen server gives %v", err)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("the ping of a thawed server gives %v", err)
	}
}
