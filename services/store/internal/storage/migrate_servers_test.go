//go:build servers

package storage

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

func TestOpenMySQL(t *testing.T) {
	t.Run("creates_no_tables", testOpenMySQLCreatesNoTables)
	t.Run("uses_the_password", testOpenMySQLUsesThePassword)
}

func testOpenMySQLCreatesNoTables(t *testing.T) {
	config := newMariaDB(t)
	_, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
	var behind *SchemaBehindError
	if !errors.As(err, &behind) || behind.Version != 0 {
		t.Fatalf("error is %v", err)
	}
	var tables int
	s := openNew(t, newMariaDB(t)) // Any connection to the server will do.
	query := "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ?"
	name := config.URL[strings.LastIndexByte(config.URL, '/')+1:]
	if err := s.pool.QueryRowContext(t.Context(), query, name).Scan(&tables); err != nil || tables != 0 {
		t.Errorf("Open made %d tables, %v", tables, err)
	}
}

func TestMigrateMySQL(t *testing.T) {
	t.Run("runs_a_migration_that_died_again", testMigrateMySQLRunsAMigrationThatDiedAgain)
	t.Run("runs_a_migration_that_died_after_its_last_statement_again", testRunsAMigrationThatDiedAfterItsLastStatementAgain)
	t.Run("every_table_has_a_primary_key", testMigrateMySQLEveryTableHasAPrimaryKey)
}

// A process that dies between two statements of DDL, which commit each by itself, leaves a schema that is further than
// its version.
func testMigrateMySQLRunsAMigrationThatDiedAgain(t *testing.T) {
	config := newMariaDB(t)
	s := openNew(t, config)
	user := addUser(t, s, "ada@example.com")
	exec(t, s, "DELETE FROM goose_db_version WHERE version_id > 0")
	exec(t, s, "DROP TABLE signing_keys")
	migrateSchema(t, config)
	s = open(t, config)
	if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
		t.Error(err)
	}
	if err := s.CreateSigningKey(t.Context(), newSigningKey(1)); err != nil {
		t.Error(err)
	}
}

// testRunsAMigrationThatDiedAfterItsLastStatementAgain, too: the schema is there, its version is not.
func testRunsAMigrationThatDiedAfterItsLastStatementAgain(t *testing.T) {
	config := newMariaDB(t)
	s := openNew(t, config)
	key := newSigningKey(1)
	if err := s.CreateSigningKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	exec(t, s, "DELETE FROM goose_db_version WHERE version_id = 5")
	migrateSchema(t, config)
	wantKeys(t, open(t, config), key)
}

func testMigrateMySQLEveryTableHasAPrimaryKey(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	rows, err := s.pool.QueryContext(t.Context(), `SELECT table_name FROM information_schema.tables t
		WHERE table_schema = DATABASE() AND (engine <> 'InnoDB' OR NOT EXISTS (
			SELECT 1 FROM information_schema.table_constraints c WHERE c.table_schema = t.table_schema
				AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY'))`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		t.Errorf("table %s has no primary key, or is not in InnoDB", name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Error(err)
	}
}

func TestImportUsersMySQL(t *testing.T) {
	t.Run("a_batch_that_loses_a_conflict_begins_again", testImportUsersMySQLABatchThatLosesAConflictBeginsAgain)
}

// testImportUsersMySQLABatchThatLosesAConflictBeginsAgain delays the database's answer to the loser come when all is
// written.
func testImportUsersMySQLABatchThatLosesAConflictBeginsAgain(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	before, calls := beginImport(t, s), 0
	user := newUser("ada@example.com")
	ctx := audit.WithActor(t.Context(), audit.Operator)
	_, err := s.ImportUsers(ctx, before, []account.UserWithHash{{User: user, PasswordHash: hash}}, time.Now(), func(results []error) (Import, error) {
		calls++
		if calls == 1 {
			return Import{}, &mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock"}
		}
		return step(before, 1, results), nil
	})
	if calls != 2 || err != nil {
		t.Errorf("it settled %d times: %v", calls, err)
	}
	if events := importedEvents(t, s); events != 1 {
		t.Errorf("there are %d events", events)
	}
}
