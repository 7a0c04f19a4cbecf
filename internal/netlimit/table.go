package netlimit

import "github.com/gatehouse-auth/gatehouse/internal/shares"

// table holds the open connections by client. It finds the client with the most of them in constant time: at the limit
// each new connection looks it up, and an attacker may have as many addresses as there are connections.
type table struct {
	clients map[shares.Key]*client // no client is without connections
	total   int
	most    int                    // the most connections that a client has
	sizes   []map[*client]struct{} // the clients by their number of connections
}

// client holds the connections of one client.
type client struct {
	key   shares.Key
	conns map[*conn]struct{}
}

func (t *table) count(key shares.Key) int {
	if owner := t.clients[key]; owner != nil {
		return len(owner.conns)
	}
	return 0
}

func (t *table) add(c *conn) {
	owner := t.clients[c.key]
	if owner == nil {
		owner = &client{key: c.key, conns: map[*conn]struct{}{}}
		t.clients[c.key] = owner
	}
	t.unlist(owner)
	owner.conns[c] = struct{}{}
	t.list(owner)
	t.total++
}

func (t *table) remove(c *conn) {
	owner := t.clients[c.key]
	t.unlist(owner)
	delete(owner.conns, c)
	t.list(owner)
	t.total--
	for t.most > 0 && len(t.sizes[t.most]) == 0 {
		t.most--
	}
	if len(owner.conns) == 0 {
		delete(t.clients, c.key)
	}
}

// unlist and list must surround each change of a client's connections.
func (t *table) unlist(owner *client) {
	if size := len(owner.conns); size > 0 {
		delete(t.sizes[size], owner)
	}
}

func (t *table) list(owner *client) {
	size := len(owner.conns)
	for size >= len(t.sizes) {
		t.sizes = append(t.sizes, map[*client]struct{}{})
	}
	if size > 0 {
		t.sizes[size][owner] = struct{}{}
	}
	t.most = max(t.most, size)
}

// largest returns a client of those with the most connections. There must be one.
func (t *table) largest() *client {
	for owner := range t.sizes[t.most] {
		return owner
	}
	return nil
}

// longestIdle returns the connection that has been idle the longest.
func (c *client) longestIdle() *conn {
	var found *conn
	for each := range c.conns {
		if found == nil || each.active.Load() < found.active.Load() {
			found = each
		}
	}
	return found
}
