package storage

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect/mysql"
)

func testWriteLockAttemptsAreBounded(t *testing.T) {
	db := openNew(t, newSQLite(t)).db
	s := &Storage{dialect: &mysql.Dialect{}, db: db}
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		deadlock := func(*gorm.DB) error {
			attempts++
			return &mysqldriver.MySQLError{Number: 1213, Message: "Deadlock found"}
		}
		began := time.Now()
		err := s.write(t.Context(), deadlock)
		if attempts != deadlines.TransactionAttempts || time.Since(began) > 2*time.Second {
			t.Errorf("%d attempts in %v", attempts, time.Since(began))
		}
		want(t, s.wrap(t.Context(), "x", err, nil), ErrUnavailable)

		attempts = 0
		ctx, cancel := context.WithCancel(t.Context())
		err = s.write(ctx, func(db *gorm.DB) error { cancel(); return deadlock(db) })
		if attempts != 1 {
			t.Errorf("%d attempts for a caller that went away", attempts)
		}
		want(t, s.wrap(ctx, "x", err, nil), context.Canceled)
	})
}

func TestWriteLock(t *testing.T) {
	t.Run("waits_for_another_process", testWriteLockWaitsForAnotherProcess)
	t.Run("gives_up_with_its_caller", testWriteLockGivesUpWithItsCaller)
	t.Run("transactions_take_turns", testWriteLockTransactionsTakeTurns)
	t.Run("attempts_are_bounded", testWriteLockAttemptsAreBounded)
}

func testWriteLockWaitsForAnotherProcess(t *testing.T) {
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
	t.Run("waits_for_the_refusal_that_was_decided_before_it", func(t *testing.T) {
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

func testWriteLockGivesUpWithItsCaller(t *testing.T) {
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
		for range s.pool.Stats().MaxOpenConnections {
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

// TestWriteBesideAnotherProcess makes another process write nearly all the time, with short gaps, as a backup or an
// import does: each change must still be made before it has waited for deadlines.FileLock. SQLite locks connections, so
// that another pool stands for another process.
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
			if err != nil && s.dialect.Classify(err) != dialect.Conflict {
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
		ctx, cancel := context.WithTimeout(t.Context(), deadlines.FileLock)
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
func testWriteLockTransactionsTakeTurns(t *testing.T) {
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
