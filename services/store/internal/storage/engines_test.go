//go:build !servers

package storage

import "testing"

// engines returns the kinds of databases that the suites run on, each with a function that creates an empty one.
func engines(*testing.T) map[string]func(*testing.T) Config {
	return map[string]func(*testing.T) Config{"sqlite": newSQLite}
}

// anyNode returns the configuration of another store of the same database.
func anyNode(config Config) Config { return config }

func stopServers() error { return nil }
