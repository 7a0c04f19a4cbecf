//go:build servers

package storage

import (
	"strings"
	"testing"
)

func TestClusterCompatibility(t *testing.T) {
	t.Run("no_statement_needs_what_a_cluster_lacks", testClusterCompatibilityNoStatementNeedsWhatAClusterLacks)
}

// A cluster replicates rows by their primary keys, locks nothing at other nodes, and has no other engine.
func testClusterCompatibilityNoStatementNeedsWhatAClusterLacks(t *testing.T) {
	config := newMariaDB(t)
	admin := openNew(t, config)
	exec(t, admin, "SET GLOBAL log_output = 'TABLE'")
	exec(t, admin, "TRUNCATE TABLE mysql.general_log")
	exec(t, admin, "SET GLOBAL general_log = ON")
	t.Cleanup(func() {
		if _, err := admin.pool.Exec("SET GLOBAL general_log = OFF"); err != nil {
			t.Error(err)
		}
	})
	s := openNew(t, newMariaDB(t))
	for name, err := range everyOperation(t.Context(), s) {
		t.Logf("%s: %v", name, err)
	}
	if tables := texts(t, s, `SELECT t.table_name FROM information_schema.tables t
		WHERE t.table_schema = DATABASE() AND (t.engine <> 'InnoDB' OR NOT EXISTS (
			SELECT 1 FROM information_schema.table_constraints c WHERE c.table_schema = t.table_schema
			AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY'))`); len(tables) > 0 {
		t.Errorf("tables without a primary key, or not of InnoDB: %q", tables)
	}
	statements := texts(t, s, "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Prepare', 'Execute')")
	if all := strings.Join(statements, "\n"); !strings.Contains(all, "INSERT INTO `users`") || !strings.Contains(all, "CREATE TABLE") {
		t.Fatalf("the log of %d statements lacks what was done", len(statements))
	}
	for _, statement := range statements {
		for _, lacking := range []string{
			"GET_LOCK", "LOCK TABLE", "FOR UPDATE", "FOR SHARE", "LOCK IN SHARE MODE", "LAST_INSERT_ID", "XA ", "HANDLER ",
		} {
			if upper := strings.ToUpper(statement); strings.Contains(upper, lacking) && !strings.Contains(upper, "GENERAL_LOG") {
				t.Errorf("%s is relied on: %s", lacking, statement)
			}
		}
	}
}
