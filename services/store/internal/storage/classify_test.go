package storage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
)

// answer is an error of a MySQL or MariaDB server.
func answer(number uint16, state string) error {
	made := &mysql.MySQLError{Number: number, Message: "text"}
	copy(made.SQLState[:], state)
	return made
}

func TestClassify(t *testing.T) {
	timeout := &net.OpError{Op: "dial", Err: context.DeadlineExceeded} // As net says it of its own dial timeout.
	for _, test := range []struct {
		err    error
		wanted class
	}{
		{nil, unclassified},
		{errors.New("other"), unclassified},

		// Statements that are wrong.
		{answer(1064, "42000"), unclassified}, // syntax
		{answer(1054, "42S22"), unclassified}, // unknown column
		{answer(1146, "42S02"), unclassified}, // unknown table
		{answer(1048, "23000"), unclassified}, // NULL
		{answer(4025, "23000"), unclassified}, // MariaDB: CHECK
		{answer(3819, "HY000"), unclassified}, // MySQL: CHECK
		{answer(1406, "22001"), unclassified}, // too long
		{answer(1364, "HY000"), unclassified}, // no default
		{answer(1366, "HY000"), unclassified}, // no such value
		{answer(1235, "42000"), unclassified}, // not supported

		{&mysql.MySQLError{Number: 1062, Message: "Duplicate entry '1' for key 'PRIMARY'"}, duplicateKey},
		{&mysql.MySQLError{Number: 1062, Message: "Duplicate entry '1' for key 'users.PRIMARY'"}, duplicateKey},
		{&mysql.MySQLError{Number: 1062, Message: "Duplicate entry 'primary' for key 'users.email'"}, duplicateValue},
		{answer(1452, "23000"), missingReference},

		{answer(1020, "HY000"), conflict},
		{answer(1205, "HY000"), conflict},
		{answer(1213, "40001"), conflict},
		{answer(3101, "40000"), conflict}, // MySQL: rolled back in a group
		{answer(1047, "08S01"), refused},

		// What an administrator of the server has to mend.
		{answer(1044, "42000"), denied}, // no right to the database
		{answer(1045, "28000"), denied}, // wrong password
		{answer(1049, "42000"), denied}, // unknown database
		{answer(1130, ""), denied},      // the host may not connect
		{answer(1142, "42000"), denied}, // no right to the table
		{answer(1227, "42000"), denied}, // a privilege is missing
		{answer(1698, "28000"), denied}, // no access without a password
		{answer(1820, "HY000"), denied}, // the password must be changed
		{answer(1862, "HY000"), denied}, // the password has expired
		{answer(3118, "HY000"), denied}, // MySQL: locked
		{answer(3159, "HY000"), denied}, // MySQL: TLS only
		{answer(3955, "HY000"), denied}, // MySQL: blocked after wrong passwords
		{answer(4151, "HY000"), denied}, // MariaDB: locked
		{mysql.ErrNoTLS, denied},
		{&connectError{mysql.ErrUnknownPlugin}, denied},
		{&connectError{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, denied},

		// What a server is out of, or does not do now.
		{answer(1021, "HY000"), unavailable}, // disk full
		{answer(1037, "HY001"), unavailable}, // memory
		{answer(1040, ""), unavailable},      // connections, said before the handshake
		{answer(1040, "08004"), unavailable}, // connections
		{answer(1041, "HY000"), unavailable}, // memory
		{answer(1053, "08S01"), unavailable}, // shutting down
		{answer(1114, "HY000"), unavailable}, // the table is full
		{answer(1153, "08S01"), unavailable}, // the packet is too large
		{answer(1180, "HY000"), unavailable}, // the commit failed
		{answer(1203, "42000"), unavailable}, // connections of the account
		{answer(1226, "42000"), unavailable}, // other resources of the account
		{answer(1290, "HY000"), unavailable}, // read-only
		{answer(1317, "70100"), unavailable}, // killed
		{answer(1836, "HY000"), unavailable}, // read-only mode
		{answer(1927, "70100"), unavailable}, // MariaDB: connection killed
		{answer(3024, "HY000"), unavailable}, // MySQL: took too long
		{answer(3168, "HY000"), unavailable}, // MySQL: the server is not available
		{answer(4031, "HY000"), unavailable}, // MySQL: idle for too long
		{answer(9999, "HY000"), unavailable}, // what a version to come may say
		{mysql.ErrPktTooLarge, unavailable},
		{errNotInCluster, unavailable},
		{driver.ErrBadConn, unavailable},
		{fmt.Errorf("commit: %w", mysql.ErrInvalidConn), unavailable},
		{io.ErrUnexpectedEOF, unavailable},
		{timeout, unavailable},
		{&connectError{tls.AlertError(40)}, unavailable},
		{&connectError{errors.New("what no list has")}, unavailable},
		{&connectError{answer(1193, "HY000")}, unavailable}, // a session variable that a proxy does not know
	} {
		if got := (&mysqlDialect{}).classify(test.err); got != test.wanted {
			t.Errorf("%v is %v, not %v", test.err, got, test.wanted)
		}
	}
	err := (&Storage{dialect: &mysqlDialect{}}).explain(t.Context(), "x", timeout, nil)
	if want(t, err, ErrUnavailable); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller with time is told that it is over: %v", err)
	}
}

// TestClassifySQLite has SQLite make its errors, which cannot be made otherwise.
func TestClassifySQLite(t *testing.T) {
	for name, test := range map[string]struct {
		prepare, statement string
		wanted             class
	}{
		"syntax":         {"", "SELEKT 1", unclassified},
		"unknown table":  {"", "SELECT * FROM nothing", unclassified},
		"unknown column": {"", "SELECT nothing FROM users", unclassified},
		"not null":       {"", "INSERT INTO epochs (name, epoch) VALUES ('x', NULL)", unclassified},
		"too big":        {"", "SELECT zeroblob(2000000000)", unclassified},
		"mismatch":       {"CREATE TABLE t (n INTEGER PRIMARY KEY)", "INSERT INTO t VALUES ('x')", unclassified},

		"duplicate key":     {"", "INSERT INTO epochs SELECT * FROM epochs", duplicateKey},
		"missing reference": {"", "INSERT INTO credentials (user_id, password_hash) VALUES ('x', 'x')", missingReference},

		"full":      {"PRAGMA max_page_count = 1", "CREATE TABLE filler AS SELECT zeroblob(1000000)", unavailable},
		"read-only": {"PRAGMA query_only = on", "UPDATE users SET version = 1", unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t, newSQLite(t))
			bystander := addUser(t, s, "ada@example.com")
			conn, err := s.pool.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if test.prepare != "" {
				if _, err := conn.ExecContext(t.Context(), test.prepare); err != nil {
					t.Fatal(err)
				}
			}
			var result any
			err = conn.QueryRowContext(t.Context(), test.statement).Scan(&result)
			if _, ok := errors.AsType[*sqlite.Error](err); !ok {
				t.Fatalf("error is %v", err)
			}
			if got := s.dialect.classify(err); got != test.wanted {
				t.Errorf("%v is %v, not %v", err, got, test.wanted)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if _, err := s.ReadUser(t.Context(), bystander.ID); err != nil {
				t.Errorf("a bystander is not served: %v", err)
			}
		})
	}
	t.Run("no such file", func(t *testing.T) {
		dialect := &sqliteDialect{path: filepath.Join(t.TempDir(), "x.db")}
		pool, err := dialect.connect(serveBusyTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pool.Close() }()
		if err := pool.PingContext(t.Context()); dialect.classify(err) != unavailable {
			t.Errorf("%v is %v", err, dialect.classify(err))
		}
	})
}
