package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"
)

// proxyConn is a connection to a server that speaks the protocol of MySQL, but lacks some of its variables and plans.
type proxyConn struct {
	driver.Conn

	executed []string
}

func (c *proxyConn) Connect(context.Context) (driver.Conn, error) { return c, nil }
func (c *proxyConn) Driver() driver.Driver                        { return nil }
func (c *proxyConn) Close() error                                 { return nil }
func (c *proxyConn) Commit() error                                { return nil }
func (c *proxyConn) Rollback() error                              { return nil }

func (c *proxyConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) { return c, nil }

func (c *proxyConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, &mysqldriver.MySQLError{Number: 1193, SQLState: [5]byte([]byte("HY000"))} // unknown system variable
}

func (c *proxyConn) ExecContext(_ context.Context, statement string, _ []driver.NamedValue) (driver.Result, error) {
	c.executed = append(c.executed, statement)
	if strings.HasPrefix(statement, "EXPLAIN") {
		return nil, &mysqldriver.MySQLError{Number: 1064, SQLState: [5]byte([]byte("42000"))} // syntax
	}
	return driver.ResultNoRows, nil
}

func TestCheckWritable(t *testing.T) {
	t.Run("of_a_server_without_the_variables_and_plans_of_MySQL", func(t *testing.T) {
		conn := &proxyConn{}
		pool := sql.OpenDB(conn)
		t.Cleanup(func() { _ = pool.Close() })
		if err := (&Dialect{}).CheckWritable(t.Context(), pool); err != nil {
			t.Errorf("error is %v", err)
		}
		if len(conn.executed) != 1+len(privilegeProbes) {
			t.Errorf("it executed %q", conn.executed)
		}
	})
}
