package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func TestCheckServerVersion(t *testing.T) {
	for text, refusal := range map[string]string{
		"8.0.0":                          "",
		"8.0.36-0ubuntu0.22.04.1":        "",
		"8.4.3":                          "",
		"9.1.0":                          "",
		"10.6.0-MariaDB":                 "",
		"10.11.19-MariaDB-0+deb12u1":     "",
		"11.4.2-MariaDB-log":             "",
		"5.5.5-10.6.12-MariaDB":          "",
		"8.0.11-TiDB-v7.5.1":             "",
		"8.0.30-Vitess":                  "",
		"":                               "",
		"unknown":                        "",
		"5.7.44-log":                     "the database server is MySQL 5.7, and MySQL 8.0 or later is needed",
		"5.6.51":                         "the database server is MySQL 5.6, and MySQL 8.0 or later is needed",
		"10.5.29-MariaDB":                "the database server is MariaDB 10.5, and MariaDB 10.6 or later is needed",
		"5.5.5-10.3.39-MariaDB-0ubuntu0": "the database server is MariaDB 10.3, and MariaDB 10.6 or later is needed",
		"5.5.68-MariaDB":                 "the database server is MariaDB 5.5, and MariaDB 10.6 or later is needed",
	} {
		err := checkServerVersion(text)
		if (err == nil) != (refusal == "") || (err != nil && err.Error() != refusal) {
			t.Errorf("%q: %v, want %q", text, err, refusal)
		}
	}
}

// oldServer is a server that reports a version, to a client that asks for no more.
type oldServer struct {
	driver.Conn
	driver.Rows

	version string
	read    bool
}

func (s *oldServer) Connect(context.Context) (driver.Conn, error) { return s, nil }
func (s *oldServer) Driver() driver.Driver                        { return nil }
func (s *oldServer) Close() error                                 { return nil }
func (s *oldServer) Columns() []string                            { return []string{"Variable_name", "Value"} }

func (s *oldServer) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return s, nil
}

func (s *oldServer) Next(row []driver.Value) error {
	if s.read {
		return io.EOF
	}
	s.read = true
	row[0], row[1] = []byte("version"), []byte(s.version)
	return nil
}

func TestServerTooOld(t *testing.T) {
	servers := &nodes{connectors: []driver.Connector{&oldServer{version: "5.7.44"}}}
	_, err := servers.Connect(t.Context())
	err = (&Storage{dialect: &mysqlDialect{}}).explain(t.Context(), "open", err, nil)
	if _, ok := errors.AsType[*ServerTooOldError](err); !ok {
		t.Errorf("error is %v", err)
	}
	want(t, err, ErrAccessDenied) // So that a store that starts does not wait for another server.
	want(t, err, ErrUnavailable)
}

// TestLeastRights migrates, and then serves, with the rights that the README names.
func TestLeastRights(t *testing.T) {
	s := openLimited(t)
	all := config(t, s)
	exec(t, s.bystander, "REVOKE ALL ON "+s.database+".* FROM "+s.account)
	exec(t, s.bystander, "DROP DATABASE "+s.database)
	exec(t, s.bystander, "CREATE DATABASE "+s.database)
	exec(t, s.bystander, "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON "+
		s.database+".* TO "+s.account)
	if err := Migrate(t.Context(), all, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	exec(t, s.bystander, "REVOKE CREATE, ALTER, DROP, INDEX, REFERENCES ON "+s.database+".* FROM "+s.account)
	served := open(t, all)
	wantReady(t, served)
	addUser(t, served, "ada@example.com")
	if _, err := served.DeleteEvents(t.Context(), actTime, 1); err != nil {
		t.Error(err)
	}
}

// config is how the storage is opened.
func config(t *testing.T, s limited) Config {
	t.Helper()
	dialect, ok := s.dialect.(*mysqlDialect)
	if !ok {
		t.Fatal("no MySQL")
	}
	return Config{URL: "mysql://" + dialect.user + "@" + strings.Join(dialect.addresses, ",") + "/" + dialect.database}
}
