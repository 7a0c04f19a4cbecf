package testkit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MariaDB is a MariaDB server. Its data and port stay the same however often it is stopped, killed and started again.
type MariaDB struct {
	Process

	port int
}

// NewMariaDB makes the data folder of a server in dir, which must be empty and should have a short name: a socket's
// path has at most 107 bytes. The server is not started.
func NewMariaDB(dir string) (*MariaDB, error) {
	server, err := find("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", "mysql_install_db")
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	options := append([]string{"--no-defaults", "--datadir=" + data}, asRoot()...)
	err = run(install, append(options, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--innodb-log-file-size=16M")...)
	if err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	return &MariaDB{port: port, Process: Process{
		Path: server,
		Args: append(options,
			"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port), "--skip-name-resolve",
			"--socket="+filepath.Join(dir, "sock"), "--pid-file="+filepath.Join(dir, "pid"),
			"--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--performance-schema=OFF",
			"--max-connections=500", "--skip-log-bin"),
		Log: filepath.Join(dir, "log"),
	}}, nil
}

// asRoot allows root, which a container often is, to run the server.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// StartMariaDB runs a new, empty server until the test ends.
func StartMariaDB(t testing.TB) *MariaDB {
	t.Helper()
	server, err := NewMariaDB(shortDir(t))
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	return server
}

// shortDir is t.TempDir with a name that is short enough for a socket in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // What is left is in the system's temporary folder.
	return dir
}

// Start starts the server and waits until it answers.
func (m *MariaDB) Start() error {
	return m.Process.Start(func() error { return m.exec("SELECT 1") })
}

// CreateDatabase makes an empty database.
func (m *MariaDB) CreateDatabase(name string) error {
	return m.exec("CREATE DATABASE `" + name + "` CHARACTER SET utf8mb4")
}

// URL is how Gatehouse's settings name a database of this server. The user is root, without a password.
func (m *MariaDB) URL(database string) string {
	return fmt.Sprintf("mysql://root@127.0.0.1:%d/%s", m.port, database)
}

// Open connects to a database, for a test that looks behind Gatehouse's back.
func (m *MariaDB) Open(database string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "tcp", fmt.Sprintf("127.0.0.1:%d", m.port)
	config.DBName, config.Timeout, config.ParseTime = database, time.Second, true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("connect to MariaDB: %w", err)
	}
	return sql.OpenDB(connector), nil
}

func (m *MariaDB) exec(query string) error {
	db, err := m.Open("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	_, err = db.ExecContext(ctx, query)
	return errors.Join(err, db.Close())
}
