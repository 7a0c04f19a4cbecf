package redisbackend

import (
	"context"
	"net"
	"time"
)

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// honest makes a dialer whose failures the pool does not see, but only who uses the connection. After as many failures
// as it has connections, the pool would answer for up to a second that nothing can be reached without trying. The Redis
// may be back by then, and other services believe what it says: a write that gave up unsent would be missed there.
func honest(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			near, far := net.Pipe()
			return unreachable{Conn: near, cause: err}, far.Close()
		}
		return conn, nil
	}
}

// unreachable is a connection that could not be made.
type unreachable struct {
	net.Conn

	cause error
}

func (u unreachable) Read([]byte) (int, error)         { return 0, u.cause }
func (u unreachable) Write([]byte) (int, error)        { return 0, u.cause }
func (u unreachable) SetDeadline(time.Time) error      { return nil } // A pipe that is closed would say so instead.
func (u unreachable) SetReadDeadline(time.Time) error  { return nil }
func (u unreachable) SetWriteDeadline(time.Time) error { return nil }
