//go:build servers

package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

func TestReconnect(t *testing.T) {
	t.Run("after_the_server_was_killed", testReconnectAfterTheServerWasKilled)
	t.Run("idle_connections_that_died_are_replaced", testReconnectIdleConnectionsThatDiedAreReplaced)
	t.Run("a_server_that_hangs_fails_within_the_deadline", testReconnectAServerThatHangsFailsWithinTheDeadline)
}

func testReconnectAfterTheServerWasKilled(t *testing.T) {
	config := newMariaDB(t)
	s := openNew(t, config)
	var users []account.User
	for i := range 20 { // Several connections, all of which will be dead.
		users = append(users, addUser(t, s, fmt.Sprintf("user%d@example.com", i)))
	}
	mariaDB.Server(t).Kill()
	for name, err := range everyOperation(t.Context(), s) {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	_, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
	want(t, err, ErrUnavailable)
	want(t, Migrate(t.Context(), config, slog.New(slog.DiscardHandler)), ErrUnavailable)

	if err := mariaDB.Server(t).Start(); err != nil {
		t.Fatal(err)
	}
	for _, user := range users {
		if got, err := s.ReadUser(t.Context(), user.ID); err != nil || got != user {
			t.Errorf("wrote %+v, read %+v, %v", user, got, err)
		}
	}
	addUser(t, s, "after@example.com")
}

// A connection that looks alive and is dead must not cost a caller an error: the server closed it while it was idle.
func testReconnectIdleConnectionsThatDiedAreReplaced(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	errs := race(10, func(int) error { return s.pool.PingContext(t.Context()) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	mariaDB.Server(t).Kill()
	if err := mariaDB.Server(t).Start(); err != nil {
		t.Fatal(err)
	}
	addUser(t, s, "ada@example.com")
}

func testReconnectAServerThatHangsFailsWithinTheDeadline(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	if err := mariaDB.Server(t).Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := s.CreateUser(ctx, newUser("ada@example.com"), hash)
	if err := mariaDB.Server(t).Thaw(); err != nil {
		t.Fatal(err)
	}
	want(t, err, context.DeadlineExceeded)
	addUser(t, s, "grace@example.com")
}

func TestWriteMySQL(t *testing.T) {
	t.Run("retries_after_a_deadlock", testWriteMySQLRetriesAfterADeadlock)
	t.Run("retries_after_a_change_since_the_first_read", testWriteMySQLRetriesAfterAChangeSinceTheFirstRead)
	t.Run("retries_what_a_node_refuses", testWriteMySQLRetriesWhatANodeRefuses)
}

// Sign-ups that wait for one that rolls back all lock the gap it leaves, and then wait for each other.
func testWriteMySQLRetriesAfterADeadlock(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	tx, err := s.pool.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tx.ExecContext(t.Context(), `INSERT INTO users (id, email, canonical_email, full_name, create_time,
		update_time, version) VALUES (?, 'ada@example.com', 'ada@example.com', '', NOW(), NOW(), 1)`, newID())
	if err != nil {
		t.Fatal(err)
	}
	const waiters = 10
	done := make(chan []error, 1)
	go func() {
		done <- race(waiters, func(int) error { return s.CreateUser(t.Context(), newUser("ada@example.com"), hash) })
	}()
	testkit.Eventually(t, func() error {
		if waiting := status(t, s, "Innodb_row_lock_current_waits"); waiting < waiters {
			return fmt.Errorf("%d wait", waiting)
		}
		return nil
	})
	before := status(t, s, "Innodb_deadlocks")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantOne(t, <-done, ErrEmailTaken)
	if status(t, s, "Innodb_deadlocks") == before {
		t.Error("there was no deadlock: this tests nothing")
	}
}

// A server of today's defaults does not let a transaction write what was changed since it has read something.
func testWriteMySQLRetriesAfterAChangeSinceTheFirstRead(t *testing.T) {
	config := newMariaDB(t)
	other := openNew(t, config)
	exec(t, other, "SET GLOBAL innodb_snapshot_isolation = ON")
	t.Cleanup(func() {
		if _, err := other.pool.Exec("SET GLOBAL innodb_snapshot_isolation = OFF"); err != nil {
			t.Error(err)
		}
	})
	s := open(t, config)
	user := addUser(t, s, "ada@example.com")
	attempts := 0
	err := s.write(t.Context(), func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			var read []string
			if err := tx.Raw("SELECT id FROM users").Scan(&read).Error; err != nil {
				return err
			}
			if attempts++; attempts == 1 {
				exec(t, other, "UPDATE users SET full_name = 'Grace' WHERE id = ?", user.ID)
			}
			return tx.Exec("UPDATE users SET version = 2 WHERE id = ?", user.ID).Error
		})
	})
	if err != nil || attempts != 2 {
		t.Errorf("%d attempts gave %v", attempts, err)
	}
}

// A node that is not part of its cluster does nothing of what it is asked for. Another one may.
func testWriteMySQLRetriesWhatANodeRefuses(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	attempts := 0
	err := s.write(t.Context(), func(*gorm.DB) error {
		if attempts++; attempts < 3 {
			return &mysqldriver.MySQLError{Number: 1047}
		}
		return nil
	})
	if err != nil || attempts != 3 {
		t.Errorf("%v after %d attempts", err, attempts)
	}
}

func TestSessionVariables(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	for variable, wanted := range map[string]string{
		"time_zone": "+00:00", "innodb_lock_wait_timeout": "5", "character_set_client": "utf8mb4",
		"collation_connection": "utf8mb4_bin", "wait_timeout": "20",
	} {
		var got string
		err := s.pool.QueryRowContext(t.Context(), "SELECT @@"+variable).Scan(&got)
		if err != nil || got != wanted {
			t.Errorf("%s is %s, not %s, %v", variable, got, wanted, err)
		}
	}
	tooLong := newUser("ada@example.com")
	tooLong.FullName = strings.Repeat("x", 201)
	if err := s.CreateUser(t.Context(), tooLong, hash); err == nil {
		t.Error("a name was cut")
	}
	if _, err := s.pool.ExecContext(t.Context(), "SELECT 1; SELECT 2"); err == nil {
		t.Error("two statements in one are taken")
	}
}

func TestReadCredentialMySQL(t *testing.T) {
	t.Run("uses_the_index", testReadCredentialMySQLUsesTheIndex)
}

func testReadCredentialMySQLUsesTheIndex(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	for i := range 100 {
		addUser(t, s, fmt.Sprintf("user%d@example.com", i))
	}
	var plan string
	query := "EXPLAIN FORMAT=JSON SELECT id FROM users WHERE canonical_email = ?"
	if err := s.pool.QueryRowContext(t.Context(), query, "user42@example.com").Scan(&plan); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, `"access_type": "const"`) || !strings.Contains(plan, `"key": "users_canonical_email"`) {
		t.Errorf("the plan is %s", plan)
	}
}

func testOpenMySQLUsesThePassword(t *testing.T) {
	config := newMariaDB(t)
	s := openNew(t, config)
	exec(t, s, "CREATE OR REPLACE USER 'gate@house'@'127.0.0.1' IDENTIFIED BY 'p@ss:w/rd?#%'")
	exec(t, s, "GRANT ALL ON *.* TO 'gate@house'@'127.0.0.1'")
	config.URL = strings.Replace(config.URL, "root@", "gate%40house@", 1)
	config.Password = "p@ss:w/rd?#%"
	if err := open(t, config).Ready(t.Context()); err != nil {
		t.Error(err)
	}

	config.Password = "hunter2"
	var written bytes.Buffer
	_, err := Open(t.Context(), config, slog.New(slog.NewTextHandler(&written, nil)))
	if want(t, err, ErrAccessDenied); !strings.Contains(err.Error(), "Access denied") {
		t.Errorf("error is %v", err)
	}
	if strings.Contains(err.Error()+written.String(), "hunter2") {
		t.Errorf("the password is in %q or %q", err, &written)
	}
}

// TestTLS connects to a server without TLS.
func TestTLS(t *testing.T) {
	config := newMariaDB(t)
	migrateSchema(t, config)
	plain := config.URL
	config.URL = plain + "?tls=preferred"
	if err := open(t, config).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	config.URL = plain + "?tls=true"
	_, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
	want(t, err, ErrAccessDenied) // A store that starts ends with this, and does not wait for another server.
}
