//go:build !servers

package transfer

import (
	"path/filepath"
	"testing"
)

// databases returns the kinds of databases, and how to get the URL of an empty one.
func databases() map[string]func(*testing.T) string {
	return map[string]func(*testing.T) string{
		"sqlite": func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") },
	}
}

func stopServers() error { return nil }
