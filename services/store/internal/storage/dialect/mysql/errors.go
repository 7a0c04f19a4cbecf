package mysql

import (
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// connectError is the failure of a new connection, before any statement: an address, a handshake, a certificate, an
// account.
type connectError struct{ cause error }

func (e *connectError) Error() string { return e.cause.Error() }

func (e *connectError) Unwrap() error { return e.cause }

// Classify returns what an error means. An error number that is on no list means that the server cannot do its work
// now: each version has new numbers for that, but few for a statement that is wrong.
func (d *Dialect) Classify(err error) dialect.Class {
	if answer, ok := errors.AsType[*mysqldriver.MySQLError](err); ok {
		class := classifyNumber(answer)
		if _, connecting := errors.AsType[*connectError](err); connecting && class == dialect.Unclassified {
			return dialect.Unavailable // The handshake failed, or a statement of the client's own.
		}
		return class
	}
	if isAny(err, handshakeErrors) || errors.Is(err, dialect.ErrAccessDenied) {
		return dialect.Denied
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return dialect.Denied
	}
	if isAny(err, lostConnections) {
		return dialect.Unavailable
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return dialect.Unavailable
	}
	if _, ok := errors.AsType[*connectError](err); ok {
		return dialect.Unavailable
	}
	return dialect.Unclassified
}

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// handshakeErrors are the driver's errors for a server whose settings are incompatible with those of this client.
var handshakeErrors = []error{
	mysqldriver.ErrNoTLS, mysqldriver.ErrCleartextPassword, mysqldriver.ErrNativePassword, mysqldriver.ErrOldPassword,
	mysqldriver.ErrUnknownPlugin, mysqldriver.ErrOldProtocol,
}

// lostConnections are errors of a connection that cannot be used again, or of a packet that it cannot carry.
var lostConnections = []error{
	errNotInCluster, errNotWritable, driver.ErrBadConn, mysqldriver.ErrInvalidConn, mysqldriver.ErrMalformPkt,
	mysqldriver.ErrPktSync, mysqldriver.ErrPktSyncMul, mysqldriver.ErrPktTooLarge, mysqldriver.ErrBusyBuffer,
	sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
}

// classifyNumber returns what an error of the server means, by its number in the server's error reference, and by its
// SQLSTATE where the number is on no list.
func classifyNumber(answer *mysqldriver.MySQLError) dialect.Class {
	switch answer.Number {
	case 1062, 1586: // duplicate entry
		// Both servers end the text with the name of the key, MySQL with the table before it.
		if strings.Contains(answer.Message, "PRIMARY'") {
			return dialect.DuplicateKey
		}
		return dialect.DuplicateValue
	case 1216, 1452: // no such parent row
		return dialect.MissingReference
	case
		1020, // MariaDB with innodb_snapshot_isolation, its default since 11.6: the row was changed since it was read
		1205, // lock wait timeout
		1213: // deadlock, and in Galera a conflict that is found at commit
		return dialect.Conflict
	case 1047: // Galera: the node is not part of the cluster now
		return dialect.Refused
	}
	switch {
	case slices.Contains(accessDenied, answer.Number):
		return dialect.Denied
	case slices.Contains(exhausted, answer.Number):
		return dialect.Unavailable
	case slices.Contains(wrongStatements, answer.Number):
		return dialect.Unclassified
	default:
		return classifyState(string(answer.SQLState[:2]))
	}
}

// classifyState returns what the class of a SQLSTATE means, which is its first two characters.
func classifyState(state string) dialect.Class {
	switch state {
	case "40": // The transaction was rolled back.
		return dialect.Conflict
	case
		"01", // a warning that strict mode makes an error
		"02", // no data
		"07", // dynamic SQL
		"0A", // not supported
		"20", // no such case
		"21", // cardinality
		"22", // data
		"23", // constraint
		"24", // cursor
		"34", // no such cursor
		"42": // syntax, or an unknown table or column
		return dialect.Unclassified
	default:
		return dialect.Unavailable
	}
}

// accessDenied are the numbers of problems that an administrator of the server has to solve: an account, a right, a
// name.
var accessDenied = []uint16{
	1044, // no right to the database
	1045, // wrong password, or no such account
	1049, // unknown database
	1129, // the host is blocked
	1130, // the host may not connect
	1141, // no such grant
	1142, // no right to the table
	1143, // no right to the column
	1147, // no such grant on the table
	1227, // a privilege is missing
	1251, // the client does not support the authentication
	1275, // a password of an old kind
	1370, // no right to the routine
	1410, // may not create users
	1524, // an authentication plugin is not loaded
	1698, // wrong account, without a password
	1820, // the password must be changed first
	1862, // the password has expired
	1873, // no access after a change of the user
	3118, // MySQL: the account is locked
	3159, // MySQL: only TLS is allowed
	3955, // MySQL: the account is blocked after wrong passwords
	4151, // MariaDB: the account is locked
}

// exhausted are the numbers of exhausted resources whose SQLSTATE blames the statement.
var exhausted = []uint16{
	1203, // the user has too many connections
	1226, // the account has used up a resource of its own
	1461, // too many prepared statements
}

// wrongStatements are the numbers of wrong statements whose SQLSTATE does not say so.
var wrongStatements = []uint16{
	1093, // the table is changed and read at once
	1111, // a group function where there is no group
	1193, // unknown system variable
	1210, // wrong arguments
	1221, // options that do not go together
	1238, // a variable that cannot be set
	1264, // out of range
	1265, // truncated
	1267, // collations that do not go together
	1270, // three of them
	1271, // more of them
	1292, // a value that is no such thing
	1295, // not for prepared statements
	1300, // not UTF-8
	1364, // a column without a default
	1366, // a value that the column cannot have
	1390, // too many placeholders
	1411, // a value that a function does not take
	1525, // a value that is no such thing
	3819, // MySQL: a check constraint
	3854, // MySQL: a character that the character set does not have
}
