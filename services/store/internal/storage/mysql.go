package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
)

const (
	// mysqlMaxConnections per store. MariaDB takes 151 in all unless it is told otherwise: enough for four stores. More
	// would not make it faster; callers beyond it wait in line, within their deadline.
	mysqlMaxConnections = 32
	// mysqlMaxLifetime spreads connections anew over the nodes behind a proxy or a DNS name, and retires them long
	// before a firewall does.
	mysqlMaxLifetime = 5 * time.Minute
	// mysqlMaxIdleTime gives connections of a rush back after it, before the server ends them.
	mysqlMaxIdleTime = 15 * time.Second

	// mysqlDialTimeout bounds a connection attempt: SYN packets to a host that is gone are not answered at all.
	mysqlDialTimeout = 5 * time.Second
	// mysqlIOTimeout bounds one answer. A statement here takes milliseconds; only a server that hangs needs longer, and
	// a caller without a deadline must not hang with it. It is longer than mysqlLockWait.
	mysqlIOTimeout = 10 * time.Second
	// mysqlLockWait, in seconds, bounds the wait for a row. The default of 50 s is longer than callers wait.
	mysqlLockWait = "5"
	// mysqlWaitTimeout, in seconds, is how long the server waits for the next statement before it undoes a transaction:
	// a store that freezes within one keeps its locks from the others no longer. The default is 8 h.
	mysqlWaitTimeout = "20"
)

// mysqlDialect speaks to MySQL 8.0, MariaDB 10.6 and later of both, to what takes itself for one of them, and to a
// Galera cluster of them.
type mysqlDialect struct {
	user, password, database, tls string
	addresses                     []string // HOST:PORT of servers that have the same data
}

func (d *mysqlDialect) open(log *slog.Logger) (*sql.DB, changeChecks, error) {
	pool, err := d.connect(log, mysqlIOTimeout)
	return pool, d, err
}

// openToMigrate does without a time limit: to alter a large table takes as long as it takes.
func (d *mysqlDialect) openToMigrate(_ context.Context, log *slog.Logger) (*sql.DB, error) {
	return d.connect(log, 0)
}

func (d *mysqlDialect) connect(log *slog.Logger, ioTimeout time.Duration) (*sql.DB, error) {
	all := new(nodes)
	for _, address := range d.addresses {
		connector, err := d.connector(address, log, ioTimeout)
		if err != nil {
			return nil, err
		}
		all.connectors = append(all.connectors, connector)
	}
	pool := sql.OpenDB(all)
	pool.SetMaxOpenConns(mysqlMaxConnections)
	pool.SetMaxIdleConns(mysqlMaxConnections)
	pool.SetConnMaxLifetime(mysqlMaxLifetime)
	pool.SetConnMaxIdleTime(mysqlMaxIdleTime)
	return pool, nil
}

func (d *mysqlDialect) connector(address string, log *slog.Logger, ioTimeout time.Duration) (driver.Connector, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd = d.user, d.password
	config.Net, config.Addr, config.DBName, config.TLSConfig = "tcp", address, d.database, d.tls
	config.Timeout, config.ReadTimeout, config.WriteTimeout = mysqlDialTimeout, ioTimeout, ioTimeout
	config.ParseTime, config.Loc = true, time.UTC
	config.ClientFoundRows = true // Counts the rows that an update found, not those whose values it altered.
	config.RejectReadOnly = true  // Leaves a node that a fail-over made a replica.
	// A Galera node tells a transaction that another node has outrun with the answer to the next command. The end of a
	// prepared statement is one, and has no answer: what follows would be done by itself, and the commit succeed.
	// Values are quoted in the statements instead, which is safe with the character set below.
	config.InterpolateParams = true
	config.Logger = driverLog{log}
	config.Params = map[string]string{
		"time_zone": "'+00:00'",
		// Strict: a value that does not fit is refused, not cut.
		"sql_mode":                 "'TRADITIONAL'",
		"innodb_lock_wait_timeout": mysqlLockWait,
		"wait_timeout":             mysqlWaitTimeout,
	}
	if err := config.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, fmt.Errorf("set the character set: %w", err)
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("configure the connections: %w", err)
	}
	return connector, nil
}

// gorm does not ask for the server's version: only gorm's own migrations and locking reads would need it.
func (d *mysqlDialect) gorm(pool *sql.DB) gorm.Dialector {
	return gormmysql.New(gormmysql.Config{Conn: pool, SkipInitializeWithVersion: true})
}

func (d *mysqlDialect) checkIdentity() error { return nil }

// rightsToChange are statements that need the rights to INSERT, UPDATE and DELETE, and do nothing.
var rightsToChange = []string{
	"EXPLAIN REPLACE INTO changes (user_id, session_id, version, ended) VALUES ('', '', 0, FALSE)",
	"EXPLAIN UPDATE guards SET changes = changes WHERE name = 'feed'",
}

// checkWritable begins a transaction that may write, which a server that is read-only for this account refuses, and
// reads the plans of statements that the account must have the right to.
func (d *mysqlDialect) checkWritable(ctx context.Context, pool *sql.DB) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // Of nothing. What cannot be rolled back has lost its connection.
	readOnly, innoDB := "unknown", "unknown"
	err = tx.QueryRowContext(ctx, "SELECT @@global.read_only, @@global.innodb_read_only").Scan(&readOnly, &innoDB)
	if err != nil && d.classify(err) != unclassified { // Other servers that speak the protocol may lack the variables.
		return err
	}
	// It takes the place of the first transaction. The driver calls what a read-only server says a bad connection.
	if _, err := tx.ExecContext(ctx, "START TRANSACTION READ WRITE"); err != nil || innoDB == "1" {
		return fmt.Errorf("%w: read_only is %s, innodb_read_only is %s", errNotWritable, readOnly, innoDB)
	}
	for _, statement := range rightsToChange {
		// The same servers may have no such plans. Their changes show what they cannot do.
		if _, err := tx.ExecContext(ctx, statement); err != nil && d.classify(err) != unclassified {
			return err
		}
	}
	return nil
}

func (d *mysqlDialect) maxStatement(ctx context.Context, pool *sql.DB) (limit int64, err error) {
	err = pool.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&limit)
	return limit, err
}

// errNotWritable is a server that begins no transaction which may write.
var errNotWritable = errors.New("the database server admits no changes")

func (d *mysqlDialect) clock() string { return "SELECT UTC_TIMESTAMP(6)" }

// deleteOldest has no subquery: MariaDB would read the whole table, and lock it, to look each row up in what was
// picked.
func (d *mysqlDialect) deleteOldest(table, _, column string) string {
	return "DELETE FROM " + table + " WHERE " + column + " < ? ORDER BY " + column + " LIMIT ?"
}

// deleteOne has the form for several tables, in which one row by its key is looked up before the plan is made. In any
// other, and for several keys, MariaDB reads the whole table where that is short, and waits for the rows that others
// are writing.
func (d *mysqlDialect) deleteOne(table, key string) string {
	return "DELETE t FROM " + table + " t WHERE t." + key + " = ?"
}

func (d *mysqlDialect) hasTable() string {
	return "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
}

func (d *mysqlDialect) migrations() (fs.FS, goose.Dialect) {
	return subdirectory("migrations/mysql"), goose.DialectMySQL
}

// migrationLock is a row with a lease, because GET_LOCK and LOCK TABLES lock one node of a cluster only. It is needed
// because DDL commits by itself: half a migration would be seen by the second process. If the first dies, the second
// takes over when the lease has run out.
func (d *mysqlDialect) migrationLock(log *slog.Logger) (lock.Locker, error) {
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

// driverLog takes what the driver says of its connections.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(words ...any) {
	l.log.Warn("the database driver reports", "text", fmt.Sprint(words...))
}
