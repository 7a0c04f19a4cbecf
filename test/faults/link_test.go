package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// condition is what a link does to what passes. The zero value lets everything through.
type condition struct {
	delay   time.Duration // of each piece, in each direction
	cut     bool          // connections are reset, and new ones as well
	noThere bool          // nothing gets to the server; it comes late, when the link is well again, as it does over TCP
	noBack  bool          // nothing gets back; as above
}

// link is a TCP connection between two processes, with a proxy of ours in it.
type link struct {
	name   string
	listen net.Listener
	to     string
	wg     sync.WaitGroup

	mu      sync.Mutex
	present condition
	changed chan struct{} // closed when present is another
	open    map[net.Conn]struct{}
	closed  bool
}

// newLink makes a link to the address, HOST:PORT, until the test ends. Nobody needs to listen there yet.
func newLink(t *testing.T, name, to string) *link {
	t.Helper()
	l := &link{name: name, to: to, changed: make(chan struct{}), open: map[net.Conn]struct{}{}}
	port, err := testkit.FreePort() // Not port 0: what a killed server held must not be given to a link.
	if err == nil {
		l.listen, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
	if err != nil {
		t.Fatal(err)
	}
	l.wg.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

func (l *link) address() string { return l.listen.Addr().String() }

func (l *link) accept() {
	for {
		conn, err := l.listen.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.serve(conn) })
	}
}

// serve carries one connection until either side ends it, or the link is cut.
func (l *link) serve(client net.Conn) {
	if !l.keep(client) {
		return
	}
	defer l.drop(client)
	server, err := net.DialTimeout("tcp", l.to, time.Second)
	if err != nil || !l.keep(server) {
		return
	}
	defer l.drop(server)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var back sync.WaitGroup
	back.Go(func() {
		defer end()
		l.carry(ctx, client, server, func(c condition) bool { return c.noBack })
		l.drop(client)
	})
	l.carry(ctx, server, client, func(c condition) bool { return c.noThere })
	end()
	l.drop(server)
	back.Wait()
}

// carry moves bytes in one direction, as the present condition lets it.
func (l *link) carry(ctx context.Context, into io.Writer, from io.Reader, held func(condition) bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !l.pass(ctx, held) {
			return
		}
		if _, err := into.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// pass waits until a piece may go on, and tells whether there is still anybody to go to.
func (l *link) pass(ctx context.Context, held func(condition) bool) bool {
	for {
		l.mu.Lock()
		present, changed := l.present, l.changed
		l.mu.Unlock()
		if !held(present) {
			return pause(ctx, present.delay)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// set stores the link into a condition. One that cuts it resets all connections.
func (l *link) set(c condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.present = c
	close(l.changed)
	l.changed = make(chan struct{})
	if c.cut {
		l.reset()
	}
}

// reset ends all connections, as a firewall does that has forgotten them.
func (l *link) reset() {
	for conn := range l.open {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// keep remembers a connection for cuts, and refuses it while there is one.
func (l *link) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.present.cut {
		_ = conn.Close()
		return false
	}
	l.open[conn] = struct{}{}
	return true
}

func (l *link) drop(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = conn.Close()
	delete(l.open, conn)
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.reset()
	l.mu.Unlock()
	l.set(condition{})
	_ = l.listen.Close()
	l.wg.Wait()
}

// pause waits for a while, and tells whether it did: ctx ends it early.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// TestLink shows that a fault of a link is one: a harness whose faults do nothing finds nothing.
func TestLink(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	l := newLink(t, "test", echo.Addr().String())
	conn := dial(t, l)
	exchange(t, conn)

	start := time.Now()
	l.set(condition{delay: 30 * time.Millisecond})
	exchange(t, conn)
	if took := time.Since(start); took < 60*time.Millisecond {
		t.Errorf("a slow link took %v", took)
	}
	for _, held := range []condition{{noThere: true}, {noBack: true}} {
		l.set(held)
		if _, err := conn.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 4)); err == nil {
			t.Errorf("%d bytes came through %+v", n, held)
		}
		conn.SetReadDeadline(time.Time{})
		l.set(condition{})
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Errorf("after %+v: %v", held, err)
		}
	}
	l.set(condition{cut: true})
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a cut connection still gives something")
	}
	refused, err := net.Dial("tcp", l.address())
	if err == nil {
		if _, err = refused.Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) || err == nil {
			t.Errorf("a cut link takes a connection: %v", err)
		}
	}
	l.set(condition{})
	exchange(t, dial(t, l))
}

func dial(t *testing.T, l *link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exchange(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
}
