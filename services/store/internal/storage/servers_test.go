//go:build servers

package storage

import (
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// mariaDB is the server of all tests. A test has a database of its own.
var mariaDB testkit.SharedMariaDB

func newMariaDB(t *testing.T) Config {
	t.Helper()
	return Config{URL: mariaDB.NewDatabase(t)}
}

func stopServers() error { return mariaDB.Stop() }
