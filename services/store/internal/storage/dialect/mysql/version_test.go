package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
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

// oldServer is a server that reports a version and does nothing else.
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

func TestConnect(t *testing.T) {
	t.Run("an_old_server_is_rejected", func(t *testing.T) {
		servers := &nodes{connectors: []driver.Connector{&oldServer{version: "5.7.44"}}}
		_, err := servers.Connect(t.Context())
		if _, ok := errors.AsType[*dialect.ServerTooOldError](err); !ok {
			t.Errorf("error is %v", err)
		}
		if class := (&Dialect{}).Classify(err); class != dialect.Denied {
			t.Errorf("its class is %v", class)
		}
	})
}
