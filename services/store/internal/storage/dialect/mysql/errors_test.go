package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// answer returns an error of a MySQL or MariaDB server.
func answer(number uint16, state string) error {
	made := &mysqldriver.MySQLError{Number: number, Message: "text"}
	copy(made.SQLState[:], state)
	return made
}

func TestClassify(t *testing.T) {
	timeout := &net.OpError{Op: "dial", Err: context.DeadlineExceeded} // As net says it of its own dial timeout.
	for _, test := range []struct {
		err    error
		wanted dialect.Class
	}{
		{nil, dialect.Unclassified},
		{errors.New("other"), dialect.Unclassified},

		// Statements that are wrong.
		{answer(1064, "42000"), dialect.Unclassified}, // syntax
		{answer(1054, "42S22"), dialect.Unclassified}, // unknown column
		{answer(1146, "42S02"), dialect.Unclassified}, // unknown table
		{answer(1048, "23000"), dialect.Unclassified}, // NULL
		{answer(4025, "23000"), dialect.Unclassified}, // MariaDB: CHECK
		{answer(3819, "HY000"), dialect.Unclassified}, // MySQL: CHECK
		{answer(1406, "22001"), dialect.Unclassified}, // too long
		{answer(1364, "HY000"), dialect.Unclassified}, // no default
		{answer(1366, "HY000"), dialect.Unclassified}, // no such value
		{answer(1235, "42000"), dialect.Unclassified}, // not supported

		{&mysqldriver.MySQLError{Number: 1062, Message: "Duplicate entry '1' for key 'PRIMARY'"}, dialect.DuplicateKey},
		{&mysqldriver.MySQLError{Number: 1062, Message: "Duplicate entry '1' for key 'users.PRIMARY'"}, dialect.DuplicateKey},
		{&mysqldriver.MySQLError{Number: 1062, Message: "Duplicate entry 'primary' for key 'users.email'"}, dialect.DuplicateValue},
		{answer(1452, "23000"), dialect.MissingReference},

		{answer(1020, "HY000"), dialect.Conflict},
		{answer(1205, "HY000"), dialect.Conflict},
		{answer(1213, "40001"), dialect.Conflict},
		{answer(3101, "40000"), dialect.Conflict}, // MySQL: rolled back in a group
		{answer(1047, "08S01"), dialect.Refused},

		// What an administrator of the server has to mend.
		{answer(1044, "42000"), dialect.Denied}, // no right to the database
		{answer(1045, "28000"), dialect.Denied}, // wrong password
		{answer(1049, "42000"), dialect.Denied}, // unknown database
		{answer(1130, ""), dialect.Denied},      // the host may not connect
		{answer(1142, "42000"), dialect.Denied}, // no right to the table
		{answer(1227, "42000"), dialect.Denied}, // a privilege is missing
		{answer(1698, "28000"), dialect.Denied}, // no access without a password
		{answer(1820, "HY000"), dialect.Denied}, // the password must be changed
		{answer(1862, "HY000"), dialect.Denied}, // the password has expired
		{answer(3118, "HY000"), dialect.Denied}, // MySQL: locked
		{answer(3159, "HY000"), dialect.Denied}, // MySQL: TLS only
		{answer(3955, "HY000"), dialect.Denied}, // MySQL: blocked after wrong passwords
		{answer(4151, "HY000"), dialect.Denied}, // MariaDB: locked
		{mysqldriver.ErrNoTLS, dialect.Denied},
		{&connectError{mysqldriver.ErrUnknownPlugin}, dialect.Denied},
		{&connectError{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, dialect.Denied},

		// What a server is out of, or does not do now.
		{answer(1021, "HY000"), dialect.Unavailable}, // disk full
		{answer(1037, "HY001"), dialect.Unavailable}, // memory
		{answer(1040, ""), dialect.Unavailable},      // connections, said before the handshake
		{answer(1040, "08004"), dialect.Unavailable}, // connections
		{answer(1041, "HY000"), dialect.Unavailable}, // memory
		{answer(1053, "08S01"), dialect.Unavailable}, // shutting down
		{answer(1114, "HY000"), dialect.Unavailable}, // the table is full
		{answer(1153, "08S01"), dialect.Unavailable}, // the packet is too large
		{answer(1180, "HY000"), dialect.Unavailable}, // the commit failed
		{answer(1203, "42000"), dialect.Unavailable}, // connections of the account
		{answer(1226, "42000"), dialect.Unavailable}, // other resources of the account
		{answer(1290, "HY000"), dialect.Unavailable}, // read-only
		{answer(1317, "70100"), dialect.Unavailable}, // killed
		{answer(1836, "HY000"), dialect.Unavailable}, // read-only mode
		{answer(1927, "70100"), dialect.Unavailable}, // MariaDB: connection killed
		{answer(3024, "HY000"), dialect.Unavailable}, // MySQL: took too long
		{answer(3168, "HY000"), dialect.Unavailable}, // MySQL: the server is not available
		{answer(4031, "HY000"), dialect.Unavailable}, // MySQL: idle for too long
		{answer(9999, "HY000"), dialect.Unavailable}, // what a version to come may say
		{mysqldriver.ErrPktTooLarge, dialect.Unavailable},
		{errNotInCluster, dialect.Unavailable},
		{driver.ErrBadConn, dialect.Unavailable},
		{fmt.Errorf("commit: %w", mysqldriver.ErrInvalidConn), dialect.Unavailable},
		{io.ErrUnexpectedEOF, dialect.Unavailable},
		{timeout, dialect.Unavailable},
		{&connectError{tls.AlertError(40)}, dialect.Unavailable},
		{&connectError{errors.New("what no list has")}, dialect.Unavailable},
		{&connectError{answer(1193, "HY000")}, dialect.Unavailable}, // a session variable that a proxy does not know
	} {
		if got := (&Dialect{}).Classify(test.err); got != test.wanted {
			t.Errorf("%v is %v, not %v", test.err, got, test.wanted)
		}
	}
}
