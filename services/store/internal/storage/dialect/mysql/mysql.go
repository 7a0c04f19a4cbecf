// Package mysql is the dialect of MySQL 8.0, MariaDB 10.6, later versions of both, servers that speak their protocol,
// and Galera clusters of them.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

const (
	// maxConnections is the limit of a store. MariaDB's own default is 151: enough for four stores. More connections would
	// not make it faster. Callers beyond the limit wait, within their deadline.
	maxConnections = 32
	// maxLifetime distributes connections over the nodes behind a proxy or a DNS name, and closes them long before a
	// firewall does.
	maxLifetime = 5 * time.Minute
	// maxIdleTime closes the connections of a burst after it, before the server does (see waitTimeout).
	maxIdleTime = 15 * time.Second

	// waitTimeout, in seconds, is how long the server waits for the next statement before it rolls a transaction back,
	// which releases the locks of a store that hangs. The default is 8 h.
	waitTimeout = "20"
)

// Dialect implements dialect.Dialect for one database, which several servers may have.
type Dialect struct {
	user, password, database, tls string
	addresses                     []string // HOST:PORT of servers that have the same data
}

// Open returns a pool that is not connected.
func (d *Dialect) Open(log *slog.Logger) (*sql.DB, error) {
	return d.connect(log, deadlines.DatabaseIO)
}

// OpenToMigrate returns a pool without a time limit, because altering a large table may take any time.
func (d *Dialect) OpenToMigrate(_ context.Context, log *slog.Logger) (*sql.DB, error) {
	return d.connect(log, 0)
}

func (d *Dialect) connect(log *slog.Logger, answerTimeout time.Duration) (*sql.DB, error) {
	all := new(nodes)
	for _, address := range d.addresses {
		connector, err := d.connector(address, log, answerTimeout)
		if err != nil {
			return nil, err
		}
		all.connectors = append(all.connectors, connector)
	}
	pool := sql.OpenDB(all)
	pool.SetMaxOpenConns(maxConnections)
	pool.SetMaxIdleConns(maxConnections)
	pool.SetConnMaxLifetime(maxLifetime)
	pool.SetConnMaxIdleTime(maxIdleTime)
	return pool, nil
}

func (d *Dialect) connector(address string, log *slog.Logger, answerTimeout time.Duration) (driver.Connector, error) {
	config := mysqldriver.NewConfig()
	config.User, config.Passwd = d.user, d.password
	config.Net, config.Addr, config.DBName, config.TLSConfig = "tcp", address, d.database, d.tls
	config.Timeout, config.ReadTimeout, config.WriteTimeout = deadlines.DatabaseDial, answerTimeout, answerTimeout
	config.ParseTime, config.Loc = true, time.UTC
	config.ClientFoundRows = true // Counts the rows that an update found, not those that it altered.
	config.RejectReadOnly = true  // Leaves a node that a fail-over made a replica.
	// A Galera node reports a conflict with another node in the response to the next command. Closing a prepared statement
	// is a command without a response: the rest of the transaction would commit without its beginning. So values are
	// quoted in the statements, which is safe with the character set below.
	config.InterpolateParams = true
	config.Logger = driverLog{log}
	config.Params = map[string]string{
		"time_zone": "'+00:00'",
		// Strict: a value that does not fit is an error.
		"sql_mode":                 "'TRADITIONAL'",
		"innodb_lock_wait_timeout": strconv.Itoa(int(deadlines.DatabaseLock.Seconds())),
		"wait_timeout":             waitTimeout,
	}
	if err := config.Apply(mysqldriver.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, fmt.Errorf("set the character set: %w", err)
	}
	connector, err := mysqldriver.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("configure the connections: %w", err)
	}
	return connector, nil
}

// Gorm returns gorm's dialector. It does not query the server's version, which only gorm's migrations and locking reads
// need.
func (d *Dialect) Gorm(pool *sql.DB) gorm.Dialector {
	return gormmysql.New(gormmysql.Config{Conn: pool, SkipInitializeWithVersion: true})
}

// SingleWriter returns false: rows are locked one by one.
func (d *Dialect) SingleWriter() bool { return false }

// CheckIdentity returns nil: a server is known by its address.
func (d *Dialect) CheckIdentity() error { return nil }

// privilegeProbes are statements that need the privileges INSERT, UPDATE and DELETE, and change nothing.
var privilegeProbes = []string{
	"EXPLAIN REPLACE INTO changes (user_id, session_id, version, ended) VALUES ('', '', 0, FALSE)",
	"EXPLAIN UPDATE feed_head SET sequence = sequence WHERE id = 1",
}

// CheckWritable begins a transaction that may write, which fails on a server that is read-only for this account. It
// then explains statements, which fails if the account lacks a privilege.
func (d *Dialect) CheckWritable(ctx context.Context, pool *sql.DB) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // There is nothing to lose.
	readOnly, innoDB := "unknown", "unknown"
	err = tx.QueryRowContext(ctx, "SELECT @@global.read_only, @@global.innodb_read_only").Scan(&readOnly, &innoDB)
	// Other servers that speak the protocol may lack the variables.
	if err != nil && d.Classify(err) != dialect.Unclassified {
		return err
	}
	// It replaces the first transaction. The driver turns the error of a read-only server into a bad connection.
	if _, err := tx.ExecContext(ctx, "START TRANSACTION READ WRITE"); err != nil || innoDB == "1" {
		return fmt.Errorf("%w: read_only is %s, innodb_read_only is %s", errNotWritable, readOnly, innoDB)
	}
	for _, statement := range privilegeProbes {
		// The same servers may not explain these statements.
		if _, err := tx.ExecContext(ctx, statement); err != nil && d.Classify(err) != dialect.Unclassified {
			return err
		}
	}
	return nil
}

// MaxStatement returns the server's max_allowed_packet.
func (d *Dialect) MaxStatement(ctx context.Context, pool *sql.DB) (limit int64, err error) {
	err = pool.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&limit)
	return limit, err
}

// errNotWritable is a server that begins no transaction which may write.
var errNotWritable = errors.New("the database server admits no changes")

// ClockQuery returns a query of the server's time with microseconds.
func (d *Dialect) ClockQuery() string { return "SELECT UTC_TIMESTAMP(6)" }

// DeleteOldest returns a statement without a subquery, for which MariaDB would read and lock the whole table.
func (d *Dialect) DeleteOldest(table, _, column string) string {
	return "DELETE FROM " + table + " WHERE " + column + " < ? ORDER BY " + column + " LIMIT ?"
}

// DeleteOne returns a statement of the form for several tables, in which MariaDB finds a row by its key before it
// plans. With any other form, and for several keys, it reads the whole of a short table, and waits for rows that others
// write.
func (d *Dialect) DeleteOne(table, key string) string {
	return "DELETE t FROM " + table + " t WHERE t." + key + " = ?"
}

// CountTables returns a query of the tables of the current database.
func (d *Dialect) CountTables() string {
	return "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
}

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrations returns the files of the folder migrations.
func (d *Dialect) Migrations() (fs.FS, goose.Dialect) {
	folder, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		panic(fmt.Sprintf("migrations: %v", err)) // Only for a name that is not a valid path.
	}
	return folder, goose.DialectMySQL
}

// MigrationLock returns a lock that is a row with a lease, because GET_LOCK and LOCK TABLES lock one node of a cluster
// only. DDL commits by itself, so that without a lock a second process would see half a migration. If the first process
// dies, the second one proceeds when the lease has expired.
func (d *Dialect) MigrationLock(log *slog.Logger) (lock.Locker, error) {
	const interval, attempts = 250 * time.Millisecond, 4 * 60 * 60 // an hour
	locker, err := lock.NewMySQLTableLocker(
		lock.WithTableName("migration_lock"),
		lock.WithTableLockTimeout(interval, attempts),
		lock.WithTableLogger(log),
	)
	if err != nil {
		return nil, fmt.Errorf("configure the lock of the migrations: %w", err)
	}
	return locker, nil
}

// driverLog logs the messages of the driver about its connections.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(words ...any) {
	l.log.Warn("database driver message", "text", fmt.Sprint(words...))
}
