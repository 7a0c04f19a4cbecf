package netlimit

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// conn is a connection that its listener counts until it is closed.
type conn struct {
	net.Conn

	listener *Listener
	key      shares.Key
	exempt   bool
	active   atomic.Int64 // when bytes were last read or written, in nanoseconds since 1970
	removed  bool         // no longer counted; guarded by the mutex of the listener
	close    sync.Once
	err      error
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.touch(n)
	return n, err //nolint:wrapcheck // Servers compare the errors of connections.
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.touch(n)
	return n, err //nolint:wrapcheck // Servers compare the errors of connections.
}

func (c *conn) touch(bytes int) {
	if bytes > 0 {
		c.active.Store(c.listener.now().UnixNano())
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.close.Do(func() {
		c.err = c.Conn.Close()
		c.listener.mutex.Lock()
		defer c.listener.mutex.Unlock()
		c.listener.remove(c)
	})
	return c.err
}
