// Package shares divides a bounded resource among clients, so that no client can take all of it.
package shares

import (
	"net/netip"
	"sync"
)

// ipv6Bits is the length of the prefix by which IPv6 clients are counted: the network that a single host is assigned
// (RFC 4291, section 2.5.4; RFC 6177), within which it may use any address.
const ipv6Bits = 64

// Key identifies a client: its IPv4 address, or the /64 of its IPv6 address. The zero Key stands for all clients whose
// address is unknown. Keys are comparable.
type Key struct{ network netip.Prefix }

// KeyOf returns the key of the client at an address.
func KeyOf(address netip.Addr) Key {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = ipv6Bits
	}
	network, err := address.Prefix(bits)
	if err != nil {
		return Key{} // The zero Addr.
	}
	return Key{network}
}

// String returns the network that the key stands for, or "unknown".
func (k Key) String() string {
	if !k.network.IsValid() {
		return "unknown"
	}
	return k.network.String()
}

// Pool is a number of units, such as bytes or connections, of which each client may hold a share. It never waits: it
// rejects what is not available. It stores only clients that hold units, so that its table is bounded by its total.
// It is safe for concurrent use.
type Pool struct {
	total, perClient int64
	fair             bool

	mutex sync.Mutex
	held  int64
	by    map[Key]int64 // no entry is zero
}

// New returns a pool of total units of which each client may hold perClient.
func New(total, perClient int64) *Pool {
	return &Pool{total: total, perClient: perClient, by: map[Key]int64{}}
}

// NewFair returns a pool as New does, but while more than half of it is held, the share of each client shrinks with the
// cube of what is left, down to one unit. Sixteen clients whose shares are a sixteenth could otherwise hold all of it;
// now hundreds of them leave some to a later client.
func NewFair(total, perClient int64) *Pool {
	p := New(total, perClient)
	p.fair = true
	return p
}

// share returns how many units a client may hold now. The caller holds the mutex.
func (p *Pool) share() int64 {
	left := float64(p.total-p.held) / (float64(p.total) / 2)
	if !p.fair || left >= 1 {
		return p.perClient
	}
	return max(1, int64(float64(p.perClient)*left*left*left))
}

// Acquire reserves n units for a client until release is called. Calls of release after the first have no effect. It
// reports false, and reserves nothing, if the client's share or the pool has fewer than n units left.
func (p *Pool) Acquire(client Key, n int64) (release func(), ok bool) {
	if !p.TryAcquire(client, n) {
		return nil, false
	}
	return sync.OnceFunc(func() { p.Release(client, n) }), true
}

// TryAcquire reserves n units as Acquire does, for callers that count them. They must Release what they have acquired.
func (p *Pool) TryAcquire(client Key, n int64) bool {
	if n < 0 {
		panic("shares: acquire of a negative number")
	}
	if n == 0 {
		return true
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	held := p.by[client]
	if n > p.share()-held || n > p.total-p.held {
		return false
	}
	p.by[client] = held + n
	p.held += n
	return true
}

// Release returns n units to the pool that the client holds. It panics if the client holds fewer.
func (p *Pool) Release(client Key, n int64) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	held := p.by[client]
	switch {
	case n < 0 || n > held:
		panic("shares: release of units that are not held")
	case n == held:
		delete(p.by, client)
	default:
		p.by[client] = held - n
	}
	p.held -= n
}

// Usage returns how many units are held, and by how many clients.
func (p *Pool) Usage() (held int64, clients int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.held, len(p.by)
}
