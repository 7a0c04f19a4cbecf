package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// mariaDB serves all tests of the package; each has a database of its own.
var mariaDB *testkit.MariaDB

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "gh")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	mariaDB, err = testkit.NewMariaDB(dir)
	if err != nil {
		return 0, err
	}
	if err := mariaDB.Start(); err != nil {
		return 0, err
	}
	code = m.Run()
	mariaDB.Kill()
	return code, goleak.Find()
}

// onEach runs a test on each kind of database, with the configuration of an empty one.
func onEach(t *testing.T, test func(t *testing.T, config Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, newSQLite(t)) })
	t.Run("mariadb", func(t *testing.T) { test(t, newMariaDB(t)) })
}

func newSQLite(t *testing.T) Config {
	t.Helper()
	return Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db")}
}

var databases atomic.Int64

func newMariaDB(t *testing.T) Config {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := mariaDB.CreateDatabase(name); err != nil {
		t.Fatal(err)
	}
	return Config{URL: mariaDB.URL(name)}
}

func migrate(t *testing.T, config Config) {
	t.Helper()
	if err := Migrate(t.Context(), config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// open opens a database that is migrated, until the test ends.
func open(t *testing.T, config Config) *Storage {
	t.Helper()
	s, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
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

func openNew(t *testing.T, config Config) *Storage {
	t.Helper()
	migrate(t, config)
	return open(t, config)
}

const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"

// newUser is a user who is not stored yet.
func newUser(email string) User {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return User{ID: newID(), Email: email, FullName: "Ada Lovelace", CreateTime: now, UpdateTime: now, Version: 1}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func createUser(t *testing.T, s *Storage, email string) User {
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
