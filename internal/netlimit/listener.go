// Package netlimit bounds the connections that a listener has open, for each client and in total, so that no client
// keeps others from connecting.
package netlimit

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// minIdle is how long a connection must have been idle before a new one of the same client may replace it. No
	// connection with a call is idle for so long: calls time out earlier.
	minIdle = 15 * time.Second

	// warnInterval is the least time between two warnings of one listener, however many connections it closes.
	warnInterval = time.Minute
)

// Limits are the bounds of a listener.
type Limits struct {
	Total     int // connections at a time
	PerClient int // connections at a time of one client, which is an IPv4 address or an IPv6 /64

	// Exempt reports whether an address stands for many clients, such as that of a proxy. PerClient does not hold for
	// it. All exempt addresses together leave an eighth of Total to the others. If nil, no address is exempt.
	Exempt func(netip.Addr) bool
}

// Listener is a net.Listener that closes connections beyond its limits. No client waits in the accept queue,
// where one client could block all others:
//
//   - Beyond PerClient, a new connection replaces the one of the same client that has been idle the longest, if that
//     is at least 15 seconds. Otherwise the new connection is closed. So clients behind one address translator share
//     their connections, and an attacker replaces only its own.
//   - Beyond Total, a new connection replaces the one that has been idle the longest of the client with the most
//     connections, if that client then still has as many as the new one's. Otherwise the new connection is closed. So a
//     client without a connection gets one unless all connections belong to different clients.
type Listener struct {
	net.Listener

	limits Limits
	log    *slog.Logger
	now    func() time.Time

	mutex   sync.Mutex
	table   table
	exempt  int // connections of exempt addresses, which are not in the table
	closed  int // connections closed since the last warning
	warning time.Time
}

// New returns a listener that bounds the connections of inner. It owns inner.
func New(inner net.Listener, limits Limits, log *slog.Logger) *Listener {
	if limits.Exempt == nil {
		limits.Exempt = func(netip.Addr) bool { return false }
	}
	return &Listener{
		Listener: inner, limits: limits, log: log, now: time.Now, table: table{clients: map[shares.Key]*client{}},
	}
}

// Accept waits for a connection that the limits allow, and returns it.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // Servers compare the errors of listeners.
		}
		opened, victim := l.admit(accepted)
		if victim != nil {
			_ = victim.Close() // Its owner gets the error.
		}
		if opened != nil {
			return opened, nil
		}
	}
}

// admit admits or rejects a new connection. It returns the connection that must be closed for it, if there is one. If
// that is the new one itself, opened is nil.
func (l *Listener) admit(accepted net.Conn) (opened *conn, victim net.Conn) {
	address := addressOf(accepted.RemoteAddr())
	c := &conn{Conn: accepted, listener: l, key: shares.KeyOf(address), exempt: l.limits.Exempt(address)}
	c.active.Store(l.now().UnixNano())
	l.mutex.Lock()
	defer l.mutex.Unlock()
	replaced, ok := l.decide(c)
	if !ok {
		l.report(c, "connection refused")
		return nil, accepted
	}
	if replaced != nil {
		l.remove(replaced)
		l.report(replaced, "idle connection closed for a new one")
		victim = replaced
	}
	l.add(c)
	return c, victim
}

// decide reports whether a new connection may be opened, and which one it replaces, if any. The caller holds the mutex.
func (l *Listener) decide(c *conn) (replaced *conn, ok bool) {
	full := l.table.total+l.exempt >= l.limits.Total
	switch own := l.table.count(c.key); {
	case c.exempt && l.exempt >= l.limits.Total-l.limits.Total/8:
		return nil, false
	case !c.exempt && own >= l.limits.PerClient:
		replaced = l.table.clients[c.key].longestIdle()
		idle := time.Duration(l.now().UnixNano() - replaced.active.Load())
		return replaced, idle >= minIdle
	case full && (l.table.most > own+1 || c.exempt && l.table.most > 0):
		return l.table.largest().longestIdle(), true
	default:
		return nil, !full
	}
}

func (l *Listener) add(c *conn) {
	if c.exempt {
		l.exempt++
	} else {
		l.table.add(c)
	}
}

func (l *Listener) remove(c *conn) {
	switch {
	case c.removed:
		return
	case c.exempt:
		l.exempt--
	default:
		l.table.remove(c)
	}
	c.removed = true
}

// report logs that a connection is closed because of the limits. The caller holds the mutex.
func (l *Listener) report(c *conn, message string) {
	ctx := context.Background() // The connection has none yet.
	l.log.DebugContext(ctx, message, "client", c.key.String(), "listener", l.Addr().String())
	l.closed++
	if now := l.now(); l.warning.IsZero() || now.Sub(l.warning) >= warnInterval {
		l.log.WarnContext(ctx, "connections closed beyond the limits", "client", c.key.String(), "closed", l.closed,
			"open", l.table.total+l.exempt, "listener", l.Addr().String())
		l.warning, l.closed = now, 0
	}
}

// addressOf returns the IP address of a peer, or the zero Addr if it has none.
func addressOf(peer net.Addr) netip.Addr {
	if peer == nil {
		return netip.Addr{}
	}
	address, _ := netip.ParseAddrPort(peer.String())
	return address.Addr().Unmap().WithZone("")
}
