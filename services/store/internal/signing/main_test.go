package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(stopServers(), goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// onEach runs a test on each kind of database, with the configuration of one that is migrated and empty.
func onEach(t *testing.T, test func(t *testing.T, database storage.Config)) {
	t.Helper()
	for name, newURL := range databases() {
		t.Run(name, func(t *testing.T) { test(t, migrated(t, storage.Config{URL: newURL(t)})) })
	}
}

// newDatabase makes a migrated database in a file of its own.
func newDatabase(t *testing.T) storage.Config {
	t.Helper()
	return migrated(t, storage.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")})
}

func migrated(t *testing.T, database storage.Config) storage.Config {
	t.Helper()
	if err := storage.Migrate(t.Context(), database, quiet); err != nil {
		t.Fatal(err)
	}
	return database
}

// openDatabase opens a connection of its own, as another store would have.
func openDatabase(t *testing.T, database storage.Config) *storage.Storage {
	t.Helper()
	db, err := storage.Open(t.Context(), database, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// clock is a clock that stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logged records log lines.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(part []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(part)
}

func (l *logged) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }
