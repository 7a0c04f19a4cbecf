package netlimit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// pipeListener accepts the server's ends of pipes from clients at any address.
type pipeListener struct{ queue chan net.Conn }

func (l *pipeListener) Accept() (net.Conn, error) {
	accepted, ok := <-l.queue
	if !ok {
		return nil, net.ErrClosed
	}
	return accepted, nil
}

func (l *pipeListener) Close() error { return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

type pipeConn struct {
	net.Conn

	from net.Addr
}

func (c pipeConn) RemoteAddr() net.Addr { return c.from }

// testEnv is a listener whose accepted connections are kept.
type testEnv struct {
	*Listener

	inner *pipeListener
	clock time.Time
	log   bytes.Buffer
}

func newTestEnv(t *testing.T, limits Limits) *testEnv {
	t.Helper()
	env := &testEnv{inner: &pipeListener{make(chan net.Conn, 2)}, clock: time.Unix(0, 0)}
	env.Listener = New(env.inner, limits, slog.New(slog.NewTextHandler(&env.log, nil)))
	env.now = func() time.Time { return env.clock }
	return env
}

// connect opens a connection from an address, and returns the client's end. It returns the server's end, too, if the
// listener accepted it.
func (e *testEnv) connect(t *testing.T, address string) (client, server net.Conn) {
	t.Helper()
	client, other := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	e.clock = e.clock.Add(time.Millisecond)
	e.inner.queue <- pipeConn{other, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))}
	close(e.inner.queue)
	server, err := e.Accept()
	e.inner.queue = make(chan net.Conn, 2)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	return client, server
}

// open is connect for a connection that must be accepted.
func (e *testEnv) open(t *testing.T, address string) (client, server net.Conn) {
	t.Helper()
	client, server = e.connect(t, address)
	if server == nil {
		t.Fatalf("a connection from %s is refused", address)
	}
	return client, server
}

func isClosed(client net.Conn) bool {
	_ = client.SetReadDeadline(time.Now())
	_, err := client.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func TestListener(t *testing.T) {
	t.Run("closes_connections_beyond_the_share_of_an_address_at_once", func(t *testing.T) {
		env := newTestEnv(t, Limits{Total: 10, PerClient: 2})
		env.open(t, "192.0.2.1")
		_, second := env.open(t, "192.0.2.1")
		if refused, server := env.connect(t, "192.0.2.1"); server != nil || !isClosed(refused) {
			t.Error("a third connection is open")
		}
		env.open(t, "192.0.2.2")
		if err := errors.Join(second.Close(), second.Close()); err != nil {
			t.Fatal(err)
		}
		env.open(t, "192.0.2.1")
		if _, server := env.connect(t, "192.0.2.1"); server != nil {
			t.Error("closing one connection twice makes room for two")
		}
	})

	t.Run("counts_IPv6_clients_by_64", func(t *testing.T) {
		env := newTestEnv(t, Limits{Total: 10, PerClient: 1})
		env.open(t, "2001:db8::1")
		if _, server := env.connect(t, "2001:db8::2:1"); server != nil {
			t.Error("another address of the same /64 has a share of its own")
		}
		env.open(t, "2001:db8:0:1::1")
	})

	t.Run("replaces_a_connection_that_has_been_idle_for_long", func(t *testing.T) {
		env := newTestEnv(t, Limits{Total: 10, PerClient: 2})
		busy, server := env.open(t, "192.0.2.1")
		idle, _ := env.open(t, "192.0.2.1")
		env.clock = env.clock.Add(minIdle)
		go func() { _, _ = busy.Write([]byte{1}) }()
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		env.open(t, "192.0.2.1")
		if isClosed(busy) || !isClosed(idle) {
			t.Error("not the connection that was silent the longest is closed")
		}
	})

	t.Run("serves_a_newcomer_when_an_attacker_has_all_connections", func(t *testing.T) {
		env := newTestEnv(t, Limits{Total: 20, PerClient: 8})
		var attackers []net.Conn
		for i := range 20 {
			client, _ := env.open(t, fmt.Sprintf("192.0.2.%d", 1+i%4))
			attackers = append(attackers, client)
		}
		bystanders := make([]net.Conn, 0, 4)
		for i := range 4 {
			client, _ := env.open(t, fmt.Sprintf("198.51.100.%d", 1+i))
			bystanders = append(bystanders, client)
		}
		for i, client := range attackers {
			if isClosed(client) != (i < 4) {
				t.Errorf("attacker's connection %d: closed is %v", i, isClosed(client))
			}
		}
		for _, client := range bystanders {
			if isClosed(client) {
				t.Error("a bystander's only connection is closed")
			}
		}
		if _, server := env.connect(t, "192.0.2.1"); server != nil {
			t.Error("an attacker with as many connections as anybody gets one more")
		}
	})

	t.Run("refuses_when_every_connection_is_another_clients_only_one", func(t *testing.T) {
		env := newTestEnv(t, Limits{Total: 3, PerClient: 2})
		for i := range 3 {
			env.open(t, fmt.Sprintf("192.0.2.%d", 1+i))
		}
		if _, server := env.connect(t, "192.0.2.9"); server != nil {
			t.Error("one client's only connection is taken for another's")
		}
	})

	t.Run("does_not_share_out_the_connections_of_proxies", func(t *testing.T) {
		proxy := netip.MustParseAddr("192.0.2.1")
		env := newTestEnv(t, Limits{
			Total: 16, PerClient: 2, Exempt: func(address netip.Addr) bool { return address == proxy },
		})
		for range 14 {
			env.open(t, proxy.String())
		}
		if _, server := env.connect(t, proxy.String()); server != nil {
			t.Error("a proxy takes what is reserved for others")
		}
		env.open(t, "192.0.2.2")
		env.open(t, "192.0.2.2")
		if _, server := env.connect(t, "192.0.2.2"); server != nil {
			t.Error("another address has no share")
		}
	})

	t.Run("lets_proxies_replace_connections_of_others", func(t *testing.T) {
		proxy := netip.MustParseAddr("192.0.2.1")
		env := newTestEnv(t, Limits{
			Total: 8, PerClient: 8, Exempt: func(address netip.Addr) bool { return address == proxy },
		})
		for range 8 {
			env.open(t, "192.0.2.2")
		}
		for range 7 {
			env.open(t, proxy.String())
		}
	})

	t.Run("warns_once_a_minute", func(t *testing.T) {
		env := newTestEnv(t, Limits{Total: 10, PerClient: 1})
		env.open(t, "192.0.2.1")
		for range 100 {
			env.connect(t, "192.0.2.1")
		}
		env.clock = env.clock.Add(warnInterval)
		idle, _ := env.open(t, "192.0.2.1")
		if lines := strings.Count(env.log.String(), "level=WARN"); lines != 2 {
			t.Errorf("%d warnings:\n%s", lines, env.log.String())
		}
		if !strings.Contains(env.log.String(), "closed=100 ") || isClosed(idle) {
			t.Errorf("the second warning does not count what was closed:\n%s", env.log.String())
		}
	})
}
