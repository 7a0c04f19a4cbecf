package storage

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"
)

const (
	mysqlName   = "MySQL"
	mariaDBName = "MariaDB"
)

// serverVersion is the version of a MySQL or MariaDB server, as far as it counts here.
type serverVersion struct {
	name         string
	major, minor int
}

// oldestSupported returns the oldest version of a server that is used: of those in use, the first whose AUTO_INCREMENT
// survives a restart, so that no change gets the id of an earlier one, and on whose defaults the schema relies.
func oldestSupported(name string) serverVersion {
	if name == mariaDBName {
		return serverVersion{mariaDBName, 10, 6}
	}
	return serverVersion{mysqlName, 8, 0}
}

func (v serverVersion) String() string { return fmt.Sprintf("%s %d.%d", v.name, v.major, v.minor) }

func (v serverVersion) before(other serverVersion) bool {
	return v.major < other.major || (v.major == other.major && v.minor < other.minor)
}

// ServerTooOldError is a server of a version that is not supported. It is ErrAccessDenied: waiting does not help.
type ServerTooOldError struct{ Server, Needed string }

// Error implements error. It names both versions.
func (e *ServerTooOldError) Error() string {
	return fmt.Sprintf("the database server is %s, and %s or later is needed", e.Server, e.Needed)
}

// Is reports whether target is one of the errors that a server which is too old is, too.
func (e *ServerTooOldError) Is(target error) bool {
	return target == ErrAccessDenied || target == ErrUnavailable
}

// parseServerVersion reads what a server reports as its version, such as 8.4.3, 10.11.6-MariaDB-1, or
// 5.5.5-10.6.12-MariaDB, in which some proxies begin with what old clients expect. Whatever has another form is of a
// server that only speaks the protocol.
func parseServerVersion(text string) (v serverVersion, ok bool) {
	v.name = mysqlName
	if strings.Contains(text, mariaDBName) {
		v.name = mariaDBName
		text = strings.TrimPrefix(text, "5.5.5-")
	}
	numbers := strings.SplitN(text, ".", 3) //nolint:mnd // major, minor, and the rest
	if len(numbers) < 2 {                   //nolint:mnd // as above
		return v, false
	}
	var err error
	if v.major, err = strconv.Atoi(numbers[0]); err != nil {
		return v, false
	}
	v.minor, err = strconv.Atoi(numbers[1])
	return v, err == nil
}

// checkServerVersion returns *ServerTooOldError if a server reports a version that is too old.
func checkServerVersion(text string) error {
	version, ok := parseServerVersion(text)
	needed := oldestSupported(version.name)
	if !ok || !version.before(needed) {
		return nil
	}
	return &ServerTooOldError{Server: version.String(), Needed: needed.String()}
}

// checkServer checks the version of the server that a connection leads to.
func checkServer(ctx context.Context, conn driver.Conn) error {
	version, err := variable(ctx, conn, "SHOW VARIABLES LIKE 'version'")
	if err != nil {
		return err
	}
	return checkServerVersion(version)
}
