//go:build servers

package store

import (
	"path/filepath"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

var mariaDB testkit.SharedMariaDB

// databases returns the kinds of databases, and how to get the URL of an empty one.
func databases() map[string]func(*testing.T) string {
	return map[string]func(*testing.T) string{
		"sqlite":  func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") },
		"mariadb": func(t *testing.T) string { return mariaDB.NewDatabase(t) },
	}
}

func stopServers() error { return mariaDB.Stop() }
