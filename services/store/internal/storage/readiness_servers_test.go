//go:build servers

package storage

import (
	"strings"
	"testing"
)

func TestReadyMySQL(t *testing.T) {
	for name, test := range map[string]struct{ take, revert, reason string }{
		"read-only": {"SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF", "read_only is 1"},
		"no right to insert": {
			"REVOKE INSERT ON DATABASE.* FROM ACCOUNT", "GRANT INSERT ON DATABASE.* TO ACCOUNT", "INSERT",
		},
		"no right to update": {
			"REVOKE UPDATE ON DATABASE.* FROM ACCOUNT", "GRANT UPDATE ON DATABASE.* TO ACCOUNT", "UPDATE",
		},
		"no right to delete": {
			"REVOKE DELETE ON DATABASE.* FROM ACCOUNT", "GRANT DELETE ON DATABASE.* TO ACCOUNT", "DELETE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openLimited(t)
			words := strings.NewReplacer("DATABASE", s.database, "ACCOUNT", s.account)
			wantReady(t, s.Storage)
			exec(t, s.bystander, words.Replace(test.take))
			t.Cleanup(func() {
				if _, err := s.bystander.pool.Exec(words.Replace(test.revert)); err != nil {
					t.Error(err)
				}
			})
			s.reconnect()
			wantNotReady(t, s.Storage, test.reason)
			user := addUser(t, s.bystander, "ada@example.com") // Root may write to a server that is read-only.
			wantReady(t, s.bystander)
			if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
				t.Errorf("a bystander's read is not served: %v", err)
			}
			exec(t, s.bystander, words.Replace(test.revert))
			s.reconnect()
			wantReady(t, s.Storage)
			addUser(t, s.Storage, "grace@example.com")
		})
	}
}
