package redisbackend

import (
	"context"
	"net"
	"time"
)

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// deferDialError returns a dialer whose failures are reported by the first use of the connection, so that the pool of
// go-redis does not see them. After as many dial errors as it has connections, that pool fails every operation for up
// to a second without trying to connect. Redis may be back by then and other services may use what is in it: they would
// miss a write that failed without having been sent.
func deferDialError(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			near, far := net.Pipe()
			return failedConn{Conn: near, cause: err}, far.Close()
		}
		return conn, nil
	}
}

// failedConn is a connection that could not be established.
type failedConn struct {
	net.Conn

	cause error
}

func (c failedConn) Read([]byte) (int, error)         { return 0, c.cause }
func (c failedConn) Write([]byte) (int, error)        { return 0, c.cause }
func (c failedConn) SetDeadline(time.Time) error      { return nil } // A closed pipe would return an error of its own.
func (c failedConn) SetReadDeadline(time.Time) error  { return nil }
func (c failedConn) SetWriteDeadline(time.Time) error { return nil }
