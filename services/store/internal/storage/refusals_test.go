//go:build servers

package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// limited is a storage by an account of its own, whom the test takes something from, and that of a bystander: of root,
// in the same database.
type limited struct {
	*Storage

	bystander *Storage
	config    Config
	account   string
	database  string
}

func openLimited(t *testing.T) limited {
	t.Helper()
	config := newMariaDB(t)
	root := openNew(t, config)
	var name string
	if err := root.pool.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	account := fmt.Sprintf("'%s'@'127.0.0.1'", name)
	exec(t, root, "CREATE USER "+account)
	exec(t, root, "GRANT ALL ON "+name+".* TO "+account)
	config.URL = strings.Replace(config.URL, "root@", name+"@", 1)
	return limited{Storage: open(t, config), bystander: root, config: config, account: account, database: name}
}

// reconnect makes the next statement open a new connection.
func (s *Storage) reconnect() {
	s.pool.SetMaxIdleConns(-1)
	s.pool.SetMaxIdleConns(s.pool.Stats().MaxOpenConnections)
}

// TestUnavailable removes what a store needs of a real server. It gets ErrUnavailable until that is restored,
// and a bystander is served meanwhile.
func TestUnavailable(t *testing.T) {
	for _, test := range []struct {
		name         string
		take, revert string // ACCOUNT and DATABASE stand for those of the store
		wanted       error
	}{
		{"locked account", "ALTER USER ACCOUNT ACCOUNT LOCK", "ALTER USER ACCOUNT ACCOUNT UNLOCK", ErrAccessDenied},
		{"other password", "SET PASSWORD FOR ACCOUNT = PASSWORD('x')", "SET PASSWORD FOR ACCOUNT = ''", ErrAccessDenied},
		{
			"expired password", "ALTER USER ACCOUNT PASSWORD EXPIRE",
			"SET PASSWORD FOR ACCOUNT = ''", ErrAccessDenied,
		},
		{"TLS only", "ALTER USER ACCOUNT REQUIRE SSL", "ALTER USER ACCOUNT REQUIRE NONE", ErrAccessDenied},
		{
			"no right to the database", "REVOKE ALL ON DATABASE.* FROM ACCOUNT",
			"GRANT ALL ON DATABASE.* TO ACCOUNT", ErrAccessDenied,
		},
		{
			"no right to insert", "REVOKE INSERT ON DATABASE.* FROM ACCOUNT",
			"GRANT INSERT ON DATABASE.* TO ACCOUNT", ErrAccessDenied,
		},
		{"read-only", "SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF", ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openLimited(t)
			replace := strings.NewReplacer("USER ACCOUNT", "USER "+s.account, "FOR ACCOUNT", "FOR "+s.account,
				"FROM ACCOUNT", "FROM "+s.account, "TO ACCOUNT", "TO "+s.account, "DATABASE", s.database)
			user := addUser(t, s.Storage, "ada@example.com")
			exec(t, s.bystander, replace.Replace(test.take))
			t.Cleanup(func() { // Whatever fails: the server is that of all tests.
				if _, err := s.bystander.pool.Exec(replace.Replace(test.revert)); err != nil {
					t.Error(err)
				}
			})
			s.reconnect()
			err := s.CreateUser(t.Context(), newUser("grace@example.com"), hash)
			if want(t, err, test.wanted); !errors.Is(err, ErrUnavailable) {
				t.Errorf("it is the statement's fault: %v", err)
			}
			if _, err := s.bystander.ReadUser(t.Context(), user.ID); err != nil {
				t.Errorf("a bystander is not served: %v", err)
			}
			exec(t, s.bystander, replace.Replace(test.revert))
			s.reconnect()
			addUser(t, s.Storage, "grace@example.com")
		})
	}
	t.Run("connections_of_the_account", func(t *testing.T) {
		s := openLimited(t)
		s.reconnect()
		exec(t, s.bystander, "ALTER USER "+s.account+" WITH MAX_USER_CONNECTIONS 1")
		conn, err := s.pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want(t, s.CreateUser(t.Context(), newUser("grace@example.com"), hash), ErrUnavailable)
		user := addUser(t, s.bystander, "ada@example.com")
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReadUser(t.Context(), user.ID); err != nil {
			t.Error(err)
		}
	})
	t.Run("packets", func(t *testing.T) {
		s := openNew(t, newMariaDB(t))
		exec(t, s, "SET GLOBAL max_allowed_packet = 1024")
		t.Cleanup(func() {
			if _, err := s.pool.Exec("SET GLOBAL max_allowed_packet = DEFAULT"); err != nil {
				t.Error(err)
			}
		})
		bystander := addUser(t, s, "ada@example.com")
		s.reconnect()
		user := newUser("grace@example.com")
		user.Metadata = strings.Repeat("x", 20_000)
		want(t, s.CreateUser(t.Context(), user, hash), ErrUnavailable)
		if _, err := s.ReadUser(t.Context(), bystander.ID); err != nil {
			t.Errorf("a bystander is not served: %v", err)
		}
	})
	t.Run("a_wrong_statement_is_not", func(t *testing.T) {
		s := openNew(t, newMariaDB(t))
		_, err := s.pool.ExecContext(t.Context(), "SELECT nothing FROM users")
		if err = s.wrap(t.Context(), "x", err, nil); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("error is %v", err)
		}
	})
}

// TestLeastRights migrates, and then serves, with the rights that the README names.
func TestLeastRights(t *testing.T) {
	s := openLimited(t)
	exec(t, s.bystander, "REVOKE ALL ON "+s.database+".* FROM "+s.account)
	exec(t, s.bystander, "DROP DATABASE "+s.database)
	exec(t, s.bystander, "CREATE DATABASE "+s.database)
	exec(t, s.bystander, "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON "+
		s.database+".* TO "+s.account)
	if err := Migrate(t.Context(), s.config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	exec(t, s.bystander, "REVOKE CREATE, ALTER, DROP, INDEX, REFERENCES ON "+s.database+".* FROM "+s.account)
	served := open(t, s.config)
	wantReady(t, served)
	addUser(t, served, "ada@example.com")
	if _, err := served.DeleteEvents(t.Context(), actTime, 1); err != nil {
		t.Error(err)
	}
}
