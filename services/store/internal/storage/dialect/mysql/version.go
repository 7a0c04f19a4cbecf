package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

const (
	mysqlName   = "MySQL"
	mariaDBName = "MariaDB"
)

// serverVersion is the version of a MySQL or MariaDB server, without the patch level.
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

// parseServerVersion parses the version that a server reports, such as 8.4.3, 10.11.6-MariaDB-1, or
// 5.5.5-10.6.12-MariaDB, which some proxies report for the sake of old clients. It returns false for the version of a
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

// checkServerVersion returns a *dialect.ServerTooOldError if a server reports a version that is too old.
func checkServerVersion(text string) error {
	version, ok := parseServerVersion(text)
	needed := oldestSupported(version.name)
	if !ok || !version.before(needed) {
		return nil
	}
	return &dialect.ServerTooOldError{Server: version.String(), Needed: needed.String()}
}

// checkServer checks the version of the server that a connection leads to.
func checkServer(ctx context.Context, conn driver.Conn) error {
	version, err := showVariable(ctx, conn, "SHOW VARIABLES LIKE 'version'")
	if err != nil {
		return err
	}
	return checkServerVersion(version)
}
