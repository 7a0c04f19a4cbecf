//go:build !clusters

package storage

import "testing"

// engines are the kinds of databases that the suites run on, each with what makes an empty one.
func engines(*testing.T) map[string]func(*testing.T) Config {
	return map[string]func(*testing.T) Config{"sqlite": newSQLite, "mariadb": newMariaDB}
}

// anyNode is the database as another store has it.
func anyNode(config Config) Config { return config }
