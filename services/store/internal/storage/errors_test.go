package storage

import (
	"context"
	"errors"
	"net"
	"testing"

	"modernc.org/sqlite"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect/mysql"
)

func TestWrap(t *testing.T) {
	s := &Storage{dialect: &mysql.Dialect{}}
	t.Run("a_timeout_of_the_driver_is_not_one_of_the_caller", func(t *testing.T) {
		err := s.wrap(t.Context(), "x", &net.OpError{Op: "dial", Err: context.DeadlineExceeded}, nil)
		if want(t, err, ErrUnavailable); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("an_old_server_is_access_denied", func(t *testing.T) { // So that a store that starts does not wait for another one.
		err := s.wrap(t.Context(), "x", &dialect.ServerTooOldError{Server: "a", Needed: "b"}, nil)
		want(t, err, ErrAccessDenied)
		want(t, err, ErrUnavailable)
	})
}

// TestClassifySQLite makes SQLite report its errors, which cannot be made otherwise.
func TestClassifySQLite(t *testing.T) {
	for name, test := range map[string]struct {
		prepare, statement string
		wanted             dialect.Class
	}{
		"syntax":         {"", "SELEKT 1", dialect.Unclassified},
		"unknown table":  {"", "SELECT * FROM nothing", dialect.Unclassified},
		"unknown column": {"", "SELECT nothing FROM users", dialect.Unclassified},
		"not null":       {"", "INSERT INTO epochs (name, epoch) VALUES ('x', NULL)", dialect.Unclassified},
		"too big":        {"", "SELECT zeroblob(2000000000)", dialect.Unclassified},
		"mismatch":       {"CREATE TABLE t (n INTEGER PRIMARY KEY)", "INSERT INTO t VALUES ('x')", dialect.Unclassified},

		"duplicate key":     {"", "INSERT INTO epochs SELECT * FROM epochs", dialect.DuplicateKey},
		"missing reference": {"", "INSERT INTO credentials (user_id, password_hash) VALUES ('x', 'x')", dialect.MissingReference},

		"full":      {"PRAGMA max_page_count = 1", "CREATE TABLE filler AS SELECT zeroblob(1000000)", dialect.Unavailable},
		"read-only": {"PRAGMA query_only = on", "UPDATE users SET version = 1", dialect.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t, newSQLite(t))
			bystander := addUser(t, s, "ada@example.com")
			conn, err := s.pool.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if test.prepare != "" {
				if _, err := conn.ExecContext(t.Context(), test.prepare); err != nil {
					t.Fatal(err)
				}
			}
			var result any
			err = conn.QueryRowContext(t.Context(), test.statement).Scan(&result)
			if _, ok := errors.AsType[*sqlite.Error](err); !ok {
				t.Fatalf("error is %v", err)
			}
			if got := s.dialect.Classify(err); got != test.wanted {
				t.Errorf("%v is %v, not %v", err, got, test.wanted)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if _, err := s.ReadUser(t.Context(), bystander.ID); err != nil {
				t.Errorf("a bystander is not served: %v", err)
			}
		})
	}
}
