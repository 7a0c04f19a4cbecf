package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// nodes connects to the first of several servers that accepts statements. It begins with the one that did so last.
type nodes struct {
	connectors []driver.Connector
	last       atomic.Int64 // index of the server that was connected to last
	supported  sync.Map     // the indexes of servers whose version has been checked
}

// errNotInCluster is a node that the others of its cluster have excluded.
var errNotInCluster = errors.New("the node is not part of its cluster now")

// Connect implements driver.Connector.
func (n *nodes) Connect(ctx context.Context) (driver.Conn, error) {
	var errs []error
	first := int(n.last.Load())
	for i := range n.connectors {
		index := (first + i) % len(n.connectors)
		conn, err := n.connectors[index].Connect(ctx)
		if err == nil {
			if err = n.admit(ctx, index, conn); err == nil {
				n.last.Store(int64(index))
				return conn, nil
			}
			err = errors.Join(err, conn.Close())
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, &connectError{errors.Join(errs...)}
}

// admit returns an error if a new connection cannot be used.
func (n *nodes) admit(ctx context.Context, index int, conn driver.Conn) error {
	if _, known := n.supported.Load(index); !known {
		if err := checkServer(ctx, conn); err != nil {
			return err
		}
		n.supported.Store(index, nil)
	}
	return initSession(ctx, conn)
}

// Driver implements driver.Connector.
func (n *nodes) Driver() driver.Driver { return n.connectors[0].Driver() }

// enableSyncWait makes each statement outside of a transaction, and each begin of one, wait until the node has what was
// committed before at any other: reads (1), updates and deletes (2), inserts (4).
const enableSyncWait = "SET SESSION wsrep_sync_wait = 7"

// initSession makes a connection to a node of a Galera cluster read what was committed at the other nodes. It returns
// errNotInCluster for a node that accepts no statements.
func initSession(ctx context.Context, conn driver.Conn) error {
	on, err := showVariable(ctx, conn, "SHOW SESSION VARIABLES LIKE 'wsrep_on'")
	if err != nil || on != "ON" {
		return err // Another server, or a MariaDB without a cluster.
	}
	ready, err := showVariable(ctx, conn, "SHOW STATUS LIKE 'wsrep_ready'")
	if err == nil && ready != "ON" {
		err = errNotInCluster
	}
	if err != nil {
		return err
	}
	session, ok := conn.(driver.ExecerContext)
	if !ok {
		return errors.New("the driver executes no statements")
	}
	if _, err := session.ExecContext(ctx, enableSyncWait, nil); err != nil {
		return fmt.Errorf("enable the wait for other nodes: %w", err)
	}
	return nil
}

// showVariable returns the value in the only row of a SHOW statement, or "" if it has no row.
func showVariable(ctx context.Context, conn driver.Conn, show string) (value string, err error) {
	session, ok := conn.(driver.QueryerContext)
	if !ok {
		return "", errors.New("the driver queries nothing")
	}
	rows, err := session.QueryContext(ctx, show, nil)
	if err != nil {
		return "", fmt.Errorf("read a variable of the server: %w", err)
	}
	row := make([]driver.Value, len(rows.Columns()))
	err = rows.Next(row)
	if err == nil && len(row) > 1 {
		if text, isBytes := row[1].([]byte); isBytes {
			value = string(text)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return value, errors.Join(err, rows.Close())
}
