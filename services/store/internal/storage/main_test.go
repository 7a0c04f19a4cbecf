package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(stopServers(), goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// onEach runs a test on each kind of database, with the configuration of an empty one.
func onEach(t *testing.T, test func(t *testing.T, config Config)) {
	t.Helper()
	for name, newDatabase := range engines(t) {
		t.Run(name, func(t *testing.T) { test(t, newDatabase(t)) })
	}
}

func newSQLite(t *testing.T) Config {
	t.Helper()
	return Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db")}
}

func migrateSchema(t *testing.T, config Config) {
	t.Helper()
	if err := Migrate(t.Context(), config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// open opens a database that is migrated, until the test ends.
func open(t *testing.T, config Config) *Storage {
	t.Helper()
	s, err := Open(t.Context(), anyNode(config), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openNew opens a database that is empty but migrated. It migrates one file, and copies that.
func openNew(t *testing.T, config Config) *Storage {
	t.Helper()
	path, isFile := strings.CutPrefix(config.URL, "sqlite:")
	if _, err := os.Stat(path); !isFile || err == nil {
		migrateSchema(t, config)
		return open(t, config)
	}
	template, err := migratedFile()
	if err == nil {
		err = os.WriteFile(path, template, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return open(t, config)
}

// migratedFile returns the content of the file of a migrated database.
var migratedFile = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "storage")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "template.db")
	err = Migrate(context.Background(), Config{URL: "sqlite:" + path}, slog.New(slog.DiscardHandler))
	content, readErr := os.ReadFile(path)
	return content, errors.Join(err, readErr, os.RemoveAll(folder))
})

const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"

// newUser is a user who is not stored yet.
func newUser(email string) account.User {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return account.User{ID: newID(), Email: email, FullName: "Ada Lovelace", CreateTime: now, UpdateTime: now, Version: 1, State: account.Active}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func addUser(t *testing.T, s *Storage, email string) account.User {
	t.Helper()
	user := newUser(email)
	if err := s.CreateUser(t.Context(), user, hash); err != nil {
		t.Fatalf("create the user %q: %v", email, err)
	}
	return user
}

func exec(t *testing.T, s *Storage, statement string, values ...any) {
	t.Helper()
	if _, err := s.pool.ExecContext(t.Context(), statement, values...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func want(t *testing.T, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Errorf("error is %v, want %v", err, wanted)
	}
}

// texts returns the one column that a query selects.
func texts(t *testing.T, s *Storage, query string) []string {
	t.Helper()
	rows, err := s.pool.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		found = append(found, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// status reads a counter of the server.
func status(t *testing.T, s *Storage, name string) int {
	t.Helper()
	var count int
	query := "SELECT variable_value FROM information_schema.global_status WHERE variable_name = ?"
	if err := s.pool.QueryRowContext(t.Context(), query, name).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

// holdWriteLock is another process that writes.
func holdWriteLock(t *testing.T, config Config) *sql.Tx {
	t.Helper()
	tx, err := open(t, config).pool.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}
