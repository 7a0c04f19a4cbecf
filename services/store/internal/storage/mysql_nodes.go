package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// nodes makes connections to the first of several servers that takes statements, from the one on which took them last.
type nodes struct {
	connectors []driver.Connector
	last       atomic.Int64 // index of the server that was connected to last
	supported  sync.Map     // holds the index of each server whose version is known to do
}

// errNotInCluster is a node that others of its cluster do not reckon with.
var errNotInCluster = errors.New("the node is not part of its cluster now")

// Connect implements driver.Connector.
func (n *nodes) Connect(ctx context.Context) (driver.Conn, error) {
	var faults []error
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
		faults = append(faults, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(faults) == 1 {
		return nil, &connectError{faults[0]}
	}
	return nil, &connectError{errors.Join(faults...)}
}

// admit returns an error if a new connection cannot be used.
func (n *nodes) admit(ctx context.Context, index int, conn driver.Conn) error {
	if _, known := n.supported.Load(index); !known {
		if err := checkServer(ctx, conn); err != nil {
			return err
		}
		n.supported.Store(index, nil)
	}
	return join(ctx, conn)
}

// Driver implements driver.Connector.
func (n *nodes) Driver() driver.Driver { return n.connectors[0].Driver() }

// causal makes each statement outside of a transaction, and each begin of one, wait until the node has what was
// committed before at any other: reads (1), updates and deletes (2), inserts (4).
const causal = "SET SESSION wsrep_sync_wait = 7"

// join sees to it that a connection to a node of a Galera cluster shows what was committed at the others. A node that
// the others do not reckon with is refused: it takes no statements.
func join(ctx context.Context, conn driver.Conn) error {
	on, err := variable(ctx, conn, "SHOW SESSION VARIABLES LIKE 'wsrep_on'")
	if err != nil || on != "ON" {
		return err // Of another server, or of a MariaDB that is alone.
	}
	ready, err := variable(ctx, conn, "SHOW STATUS LIKE 'wsrep_ready'")
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
	if _, err := session.ExecContext(ctx, causal, nil); err != nil {
		return fmt.Errorf("have the node wait for the others: %w", err)
	}
	return nil
}

// variable gives the value in the one row that a statement shows, "" if there is none.
func variable(ctx context.Context, conn driver.Conn, show string) (value string, err error) {
	session, ok := conn.(driver.QueryerContext)
	if !ok {
		return "", errors.New("the driver queries nothing")
	}
	rows, err := session.QueryContext(ctx, show, nil)
	if err != nil {
		return "", fmt.Errorf("ask what the server is: %w", err)
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

// leave closes the connections that nobody uses: the node that they lead to takes no statements, and another may.
func (s *Storage) leave() {
	s.pool.SetMaxIdleConns(0)
	s.pool.SetMaxIdleConns(mysqlMaxConnections)
}
