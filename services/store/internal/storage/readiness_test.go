package storage

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

func wantReady(t *testing.T, s *Storage) {
	t.Helper()
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func wantNotReady(t *testing.T, s *Storage, reason string) {
	t.Helper()
	err := s.Ready(t.Context())
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), reason) {
		t.Errorf("Ready returns %v, want the reason %q", err, reason)
	}
}

func TestReady(t *testing.T) {
	t.Run("writes_nothing", func(t *testing.T) {
		onEach(t, func(t *testing.T, config Config) {
			s := openNew(t, config)
			addUser(t, s, "ada@example.com")
			before := written(t, s)
			for range 10 {
				wantReady(t, s)
			}
			if after := written(t, s); after != before {
				t.Errorf("%v was written, and %v with ten probes more", before, after)
			}
		})
	})
	t.Run("a_failed_change_is_remembered_until_one_succeeds", func(t *testing.T) {
		onEach(t, func(t *testing.T, config Config) {
			s := openNew(t, config)
			user := addUser(t, s, "ada@example.com")
			failure := driver.ErrBadConn
			if s.writer != nil {
				failure = dialect.ErrLockHeld
			}
			exec(t, s, "ALTER TABLE changes RENAME TO moved") // So that the attempt fails as well.
			if err := s.write(t.Context(), func(*gorm.DB) error { return failure }); err == nil {
				t.Fatal("the change did not fail")
			}
			if err := s.Ready(t.Context()); err == nil {
				t.Error("ready, though no change can be made")
			}
			if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
				t.Errorf("a bystander is not served: %v", err)
			}
			exec(t, s, "ALTER TABLE moved RENAME TO changes")
			wantReady(t, s)
			if s.outcomes.lastFailure() != nil {
				t.Error("the failure is remembered still")
			}
			if rows, err := s.SequenceChanges(t.Context(), 100); err != nil || rows != 0 {
				t.Errorf("it leaves %d changes behind, %v", rows, err)
			}
		})
	})
}

// pathOf returns the path of the file of a database.
func pathOf(t *testing.T, s *Storage) string {
	t.Helper()
	return texts(t, s, "SELECT file FROM pragma_database_list WHERE name = 'main'")[0]
}

// written returns what shows that something was written.
func written(t *testing.T, s *Storage) string {
	t.Helper()
	if s.writer != nil {
		log, err := os.ReadFile(pathOf(t, s) + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return string(log)
	}
	var position string
	query := `SELECT SUM(variable_value) FROM information_schema.global_status
		WHERE variable_name IN ('Handler_update', 'Handler_delete')`
	if err := s.pool.QueryRowContext(t.Context(), query).Scan(&position); err != nil {
		t.Fatal(err)
	}
	return position
}

func TestReadySQLite(t *testing.T) {
	for name, test := range map[string]struct {
		harm, mend func(path string) error
		reason     string
	}{
		"moved": {
			func(path string) error { return os.Rename(path, path+".away") },
			func(path string) error { return os.Rename(path+".away", path) }, "deleted, moved or replaced",
		},
		"replaced": {
			func(path string) error {
				return errors.Join(os.Rename(path, path+".away"), os.WriteFile(path, []byte("x"), 0o600))
			},
			func(path string) error { return os.Rename(path+".away", path) }, "deleted, moved or replaced",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t, newSQLite(t))
			user := addUser(t, s, "ada@example.com")
			path := pathOf(t, s)
			wantReady(t, s)
			if err := test.harm(path); err != nil {
				t.Fatal(err)
			}
			wantNotReady(t, s, test.reason)
			want(t, s.CreateUser(t.Context(), newUser("grace@example.com"), hash), ErrUnavailable)
			if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
				t.Errorf("a bystander's read is not served: %v", err)
			}
			if err := test.mend(path); err != nil {
				t.Fatal(err)
			}
			wantReady(t, s)
			addUser(t, s, "grace@example.com")
		})
	}
	t.Run("read-only", func(t *testing.T) {
		s := openNew(t, newSQLite(t))
		user := addUser(t, s, "ada@example.com")
		s.pool.SetMaxOpenConns(1)
		exec(t, s, "PRAGMA query_only = on")
		_ = s.CreateUser(t.Context(), newUser("grace@example.com"), hash)
		wantNotReady(t, s, "readonly")
		if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
			t.Errorf("a bystander's read is not served: %v", err)
		}
		exec(t, s, "PRAGMA query_only = off")
		wantReady(t, s)
	})
	t.Run("the_process_may_only_read_the_file", func(t *testing.T) {
		config := newSQLite(t)
		bystander := openNew(t, config)
		user := addUser(t, bystander, "ada@example.com")
		path := strings.TrimPrefix(config.URL, "sqlite:")
		folder := filepath.Dir(path)
		for _, folder := range []string{folder, filepath.Dir(folder)} {
			if err := os.Chmod(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		setMode(t, path, 0o444)
		asStranger(t, func() {
			s := open(t, config)
			wantNotReady(t, s, "readonly")
			want(t, s.CreateUser(t.Context(), newUser("grace@example.com"), hash), ErrUnavailable)
			if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
				t.Errorf("a bystander's read is not served: %v", err)
			}
		})
		wantReady(t, bystander)
		setMode(t, path, 0o666)
		asStranger(t, func() {
			s := open(t, config)
			wantReady(t, s)
			addUser(t, s, "grace@example.com")
		})
	})
	t.Run("locked_for_longer_than_a_caller_waits", func(t *testing.T) {
		config := newSQLite(t)
		s := openNew(t, config)
		user := addUser(t, s, "ada@example.com")
		other := holdWriteLock(t, config)
		wantReady(t, s) // Another process has just begun.
		s.outcomes.stalled = time.Now().Add(-maxStall)
		wantNotReady(t, s, "another process holds the write lock")
		if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
			t.Errorf("a bystander's read is not served: %v", err)
		}
		if err := other.Rollback(); err != nil {
			t.Fatal(err)
		}
		wantReady(t, s)
	})
	t.Run("a_refused_change_shows_that_changes_can_begin", func(t *testing.T) {
		s := openNew(t, newSQLite(t))
		user := addUser(t, s, "ada@example.com")
		s.outcomes.stalled = time.Now().Add(-maxStall)
		want(t, s.CreateUser(t.Context(), newUser(user.Email), hash), ErrEmailTaken)
		s.writer <- struct{}{} // The next one is being made.
		wantReady(t, s)
		<-s.writer
	})
	t.Run("the_lock_is_had_between_the_changes_of_another_process", func(t *testing.T) {
		config := newSQLite(t)
		s := openNew(t, config)
		other := holdWriteLock(t, config)
		began := time.Now()
		could, err := tryLock(t.Context(), s.pool, yielding{s.dialect, other})
		if err != nil || !could && time.Since(began) < lockProbeTimeout {
			t.Errorf("a change could begin: %t, %v", could, err)
		}
	})
}

// yielding is a dialect that releases a lock as soon as an attempt to get it has failed.
type yielding struct {
	dialect.Dialect

	lock *sql.Tx
}

func (y yielding) Classify(err error) dialect.Class {
	_ = y.lock.Rollback()
	return y.Dialect.Classify(err)
}

// setMode sets the mode of the files of a database.
func setMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
}
