package storage

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

func TestOnlyTheOwnerReadsTheFiles(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "x.db")
	addUser(t, openNew(t, Config{URL: "sqlite:" + path}), "ada@example.com")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) != 3 {
		t.Errorf("the folder holds %v, %v", files, err)
	}
}

func TestAnyPath(t *testing.T) {
	for _, name := range []string{"with space.db", "100%41.db", "a#b.db", "a&b=c.db", "é.db", "file:x.db"} {
		path := filepath.Join(t.TempDir(), name)
		addUser(t, openNew(t, Config{URL: "sqlite:" + path}), "ada@example.com")
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	t.Chdir(t.TempDir())
	addUser(t, openNew(t, Config{URL: "sqlite:relative.db"}), "ada@example.com")
}

func TestWhatIsWrongWithThePathIsSaid(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("not a database, but as long as the header of one would be, at the least\n"+
		strings.Repeat("x", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	for _, test := range []struct{ path, open, migrate string }{
		{filepath.Join(folder, "missing", "x.db"), "missing of the database does not exist", "does not exist"},
		{filepath.Join(file, "x.db"), "file is not a folder", "file is not a folder"},
		{file, "not a database", "not a database"},
		{folder, "unable to open", "unable to open"},
		{filepath.Join(folder, "new.db"), `run "gatehouse migrate"`, ""},
	} {
		config := Config{URL: "sqlite:" + test.path}
		if _, err := Open(t.Context(), config, log); err == nil || !strings.Contains(err.Error(), test.open) {
			t.Errorf("Open %s: %v", test.path, err)
		}
		err := Migrate(t.Context(), config, log)
		if test.migrate == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.migrate) {
			t.Errorf("Migrate %s: %v", test.path, err)
		}
	}
}

func TestPragmas(t *testing.T) {
	s := openNew(t, newSQLite(t))
	for range sqliteMaxConnections { // Each connection has its own.
		conn, err := s.pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for pragma, wanted := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": serveBusyTimeout,
		} {
			var got string
			err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got)
			if err != nil || got != wanted {
				t.Errorf("%s is %s, not %s, %v", pragma, got, wanted, err)
			}
		}
	}
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

func TestAWriterWaitsForItsTurn(t *testing.T) {
	config := newSQLite(t)
	s := openNew(t, config)
	other := holdWriteLock(t, config)
	if _, err := s.ReadUser(t.Context(), newID()); !isError(err, ErrNotFound) {
		t.Errorf("a reader is disturbed: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.CreateUser(t.Context(), newUser("ada@example.com"), hash) }()
	for s.pool.Stats().InUse == 0 { // It is about to begin, or waits already.
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
	}
	if err := other.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConfirmSignUp(t *testing.T) {
	t.Run("waits for the refusal that was decided before it", func(t *testing.T) {
		config := newSQLite(t)
		s := openNew(t, config)
		user := newUser("ada@example.com")
		signUp := newSignUp(user, 1)
		if err := s.CreateUserOnce(t.Context(), user, hash, signUp, time.Time{}); err != nil {
			t.Fatal(err)
		}
		other := holdWriteLock(t, config)
		voided, confirmed := make(chan error, 1), make(chan error, 1)
		go func() { voided <- s.VoidSignUp(t.Context(), signUp, "REQUEST_ID_REUSED", actTime) }()
		for len(s.writer) == 0 { // It has its turn, and waits for the other process.
			runtime.Gosched()
		}
		go func() { confirmed <- s.ConfirmSignUp(t.Context(), signUp) }()
		if err := other.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-voided; err != nil {
			t.Error(err)
		}
		want(t, <-confirmed, ErrNotFound)
	})
}

func TestAWriterGivesUp(t *testing.T) {
	config := newSQLite(t)
	s := openNew(t, config)
	holdWriteLock(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	want(t, s.CreateUser(ctx, newUser("ada@example.com"), hash), context.DeadlineExceeded)

	s.lockWait = time.Millisecond
	want(t, s.CreateUser(t.Context(), newUser("ada@example.com"), hash), ErrUnavailable)
}

// The connections wait for each other for 1 ms only, so that a writer which relies on that gets SQLITE_BUSY.
func TestWrite(t *testing.T) {
	t.Run("writers_of_one_process_wait_in_line", func(t *testing.T) {
		s := openNew(t, newSQLite(t))
		var conns []*sql.Conn
		for range sqliteMaxConnections {
			conn, err := s.pool.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 1"); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns { // Back into the pool, which keeps all of them.
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
		const writers = 200
		for _, err := range race(writers, func(i int) error {
			return s.CreateUser(t.Context(), newUser(fmt.Sprintf("%d@example.com", i)), hash)
		}) {
			if err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("a_writer_in_line_leaves_with_its_caller", func(t *testing.T) {
		s := openNew(t, newSQLite(t))
		s.writer <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		want(t, s.CreateUser(ctx, newUser("ada@example.com"), hash), context.Canceled)
		<-s.writer
		if err := s.CreateUser(t.Context(), newUser("ada@example.com"), hash); err != nil {
			t.Error(err)
		}
	})
}

// TestWriteBesideAnotherProcess has another process write nearly all the time, with short gaps, as a backup or an import
// does: each change must still be made before it has waited for maxLockWait. SQLite locks connections, so that another
// pool stands for another process.
func TestWriteBesideAnotherProcess(t *testing.T) {
	config := newSQLite(t)
	s, other := openNew(t, config), open(t, config)
	const writes, hold, gap = 20, 50 * time.Millisecond, 2 * time.Millisecond
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			tx, err := other.pool.BeginTx(context.WithoutCancel(t.Context()), nil)
			if err == nil {
				<-time.After(hold)
				err = tx.Rollback()
			}
			if err != nil && s.dialect.classify(err) != conflict {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			case <-time.After(gap):
			}
		}
	}()
	for i := range writes {
		ctx, cancel := context.WithTimeout(t.Context(), maxLockWait)
		if err := s.CreateUser(ctx, newUser(fmt.Sprintf("%d@example.com", i)), hash); err != nil {
			t.Error(err)
		}
		if _, err := s.ReadUser(ctx, newID()); !isError(err, ErrNotFound) {
			t.Errorf("a bystander's read is not served: %v", err)
		}
		cancel()
	}
	close(stop)
	<-stopped
}

// A transaction that reads before it writes must not fail, or undo what another one wrote in between.
func TestTransactionsTakeTurns(t *testing.T) {
	config := newSQLite(t)
	s := openNew(t, config)
	user := addUser(t, s, "ada@example.com")
	const writers = 20
	stores := []*Storage{s, open(t, config)}
	for _, err := range race(writers, func(i int) error {
		return stores[i%len(stores)].write(t.Context(), func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				users := gorm.G[userRow](tx).Where("id = ?", user.ID)
				row, err := users.Take(t.Context())
				if err != nil {
					return err
				}
				_, err = users.Update(t.Context(), "version", row.Version+1)
				return err
			})
		})
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if got, err := s.ReadUser(t.Context(), user.ID); err != nil || got.Version != 1+writers {
		t.Errorf("the version is %d, %v", got.Version, err)
	}
}

func TestGormMakesNoSchema(t *testing.T) {
	s := openNew(t, newSQLite(t))
	want(t, s.db.AutoMigrate(&userRow{}), errNoMigrator)
	want(t, s.db.Migrator().CreateTable(&userRow{}), errNoMigrator)
}

// gorm's own log holds the values of statements.
func TestGormIsSilent(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		if s := openNew(t, config); s.db.Logger != logger.Discard {
			t.Errorf("gorm logs to %v", s.db.Logger)
		}
	})
}
