package storage

import (
	"errors"
	"strings"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect/mysql"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect/sqlite"
)

// Config is the location of the database.
type Config struct {
	// URL is mysql://user@host:port/database, optionally with ?tls=true, skip-verify or preferred, or sqlite:PATH. The
	// scheme of MariaDB is mysql too. Nodes of one cluster are separated by commas: user@host:port,host:port; the first
	// that accepts connections is used. Without a tls parameter the connection is in clear; "preferred" and "skip-verify"
	// do not verify the server's certificate.
	URL string
	// Password of the user of a MySQL database.
	Password string
}

// Validate returns all errors of the configuration. No error quotes the URL or the password.
func (c Config) Validate() error {
	_, err := c.dialect()
	return err
}

func (c Config) dialect() (dialect.Dialect, error) {
	switch scheme, path, _ := strings.Cut(c.URL, ":"); scheme {
	case "mysql":
		return mysql.New(c.URL, c.Password)
	case "sqlite":
		return sqlite.New(path, c.Password)
	default:
		return nil, errors.New("the database URL must be mysql://user@host:port/database or sqlite:PATH")
	}
}
