package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

var mariaDB testkit.SharedMariaDB

func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(mariaDB.Stop(), goleak.Find()); err != nil {
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

func newMariaDB(t *testing.T) Config {
	t.Helper()
	return Config{URL: mariaDB.NewDatabase(t)}
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

func openNew(t *testing.T, config Config) *Storage {
	t.Helper()
	migrate(t, config)
	return open(t, config)
}

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
