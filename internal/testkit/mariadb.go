package testkit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// dataFolder is the folder of a server's data, in that of its files.
const dataFolder = "data"

// queryTimeout bounds each statement of the test kit itself.
const queryTimeout = 30 * time.Second

// MariaDB is a MariaDB server. Its data and port stay the same however often it is stopped, killed and started again.
type MariaDB struct {
	Process

	port    ownPort
	dir     string
	pidFile string
}

// NewMariaDB makes the data folder of a server in dir, which must be empty and should have a short name: a socket's
// path has at most 107 bytes (103 on macOS). The server is not started.
func NewMariaDB(dir string) (*MariaDB, error) { return newMariaDB(dir, makeDataFolder) }

// newMariaDB makes a server whose data folder is made by makeData, which gets the options that say where it is.
func newMariaDB(dir string, makeData func(dir string, options []string) error) (*MariaDB, error) {
	program, err := FindProgram("mariadbd")
	if err != nil {
		return nil, err
	}
	port, err := newOwnPort()
	if err != nil {
		return nil, err
	}
	// A server that starts removes temporary tables from where they are kept: those of another one, if that is shared.
	temporary := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of temporary tables: %w", err)
	}
	options := append([]string{
		"--no-defaults", "--datadir=" + filepath.Join(dir, dataFolder), "--tmpdir=" + temporary, "--skip-name-resolve",
		"--innodb-log-file-size=16M",
	}, asRoot()...)
	if err := makeData(dir, options); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	pidFile := filepath.Join(dir, "pid")
	return &MariaDB{port: port, dir: dir, pidFile: pidFile, Process: Process{
		Path: program,
		Args: append(options,
			"--bind-address=127.0.0.1", "--socket="+filepath.Join(dir, "sock"), "--pid-file="+pidFile,
			"--innodb-buffer-pool-size=64M", "--performance-schema=OFF", "--max-connections=500", "--skip-log-bin",
			// A commit is written, not synced: it survives that the server is killed, which tests do, though not that
			// the machine is, which they don't.
			"--innodb-flush-log-at-trx-commit=2"),
		Log: filepath.Join(dir, "log"),
	}}, nil
}

func makeDataFolder(dir string, options []string) error {
	program, err := FindProgram("mariadb-install-db")
	if err != nil {
		return err
	}
	install := Process{
		Path: program,
		Args: append(slices.Clip(options), "--auth-root-authentication-method=normal", "--skip-test-db"),
		Log:  filepath.Join(dir, "install.log"),
	}
	if err := install.Start(func() error { return nil }); err != nil {
		return err
	}
	code, err := install.Wait(startTimeout)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d:\n%s", install.name(), code, install.Tail())
	}
	return err
}

// asRoot allows root, which a container often is, to run the server.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// StartMariaDB runs a new, empty server until the test ends, with options that win over the usual ones.
func StartMariaDB(tb testing.TB, options ...string) *MariaDB {
	tb.Helper()
	server, err := NewMariaDB(shortDir(tb))
	if err == nil {
		server.Args = append(server.Args, options...)
		err = server.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Kill)
	return server
}

// shortDir is TempDir with a name that is short enough for a socket in it.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "gh") // The folders of TempDir are named after the test, at any length.
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) }) // What is left is in the system's temporary folder.
	return dir
}

// Start starts the server and waits until it answers.
func (m *MariaDB) Start() error {
	return m.port.use(func(port int) error {
		return m.start([]string{fmt.Sprintf("--port=%d", port)}, m.answers)
	})
}

// Save copies the server's data folder to another folder that must not exist. The server must not run.
func (m *MariaDB) Save(into string) error {
	if err := os.CopyFS(into, os.DirFS(filepath.Join(m.dir, dataFolder))); err != nil {
		return fmt.Errorf("save the data of MariaDB: %w", err)
	}
	return nil
}

// Restore replaces the server's data folder by the saved one. The server must not run.
func (m *MariaDB) Restore(saved string) error {
	data := filepath.Join(m.dir, dataFolder)
	if err := errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(saved))); err != nil {
		return fmt.Errorf("restore the data of MariaDB: %w", err)
	}
	return nil
}

// CreateDatabase makes an empty database. It is an error if there is one with this name. The name is used as it is, and
// must not hold a backquote.
func (m *MariaDB) CreateDatabase(name string) error {
	return m.with(func(ctx context.Context, db *sql.DB) error {
		if _, err := db.ExecContext(ctx, "CREATE DATABASE `"+name+"` CHARACTER SET utf8mb4"); err != nil {
			return fmt.Errorf("create the database %q: %w", name, err)
		}
		return nil
	})
}

// URL is how Gatehouse's settings name a database of this server. The user is root, without a password. The port is
// final once the server has started.
func (m *MariaDB) URL(database string) string {
	return fmt.Sprintf("mysql://root@%s/%s", loopback(m.port.number), database)
}

// Open connects to a database, for a test that looks behind Gatehouse's back. The test closes it.
func (m *MariaDB) Open(database string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "tcp", loopback(m.port.number)
	config.DBName, config.Timeout, config.ParseTime = database, dialTimeout, true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("connect to MariaDB: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// answers reports why the server does not answer yet. A server of another test, which was faster to take the port, is
// not this one.
func (m *MariaDB) answers() error {
	return m.with(func(ctx context.Context, db *sql.DB) error {
		var pidFile string
		if err := db.QueryRowContext(ctx, "SELECT @@pid_file").Scan(&pidFile); err != nil {
			return fmt.Errorf("ask MariaDB for its pid file: %w", err)
		}
		if pidFile != m.pidFile {
			return fmt.Errorf("the port is of another server, with the pid file %s", pidFile)
		}
		return nil
	})
}

func (m *MariaDB) with(use func(context.Context, *sql.DB) error) error {
	db, err := m.Open("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	return errors.Join(use(ctx, db), db.Close())
}
