package redisbackend

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// slots is how many slots a cluster has.
const slots = 1 << 14

// slot returns the slot of the keys with a hash tag: its CRC-16/XMODEM, by the specification of Redis Cluster.
func slot(tag string) int {
	const polynomial, highest = 0x1021, 0x8000
	var crc uint16
	for _, b := range []byte(tag) {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc&highest != 0
			crc <<= 1
			if carry {
				crc ^= polynomial
			}
		}
	}
	return int(crc) % slots
}

// view is one node's view of the cluster: the answer to CLUSTER NODES, and the address that gave it.
type view struct{ address, nodes string }

// node is a line of a view.
type node struct {
	address string
	master  bool
	epoch   uint64
	ranges  []string
}

// parse returns the nodes of a view that have an address. A node that does not know its own has that of the view.
func (v view) parse(preferNames bool) []node {
	var nodes []node
	for line := range strings.Lines(v.nodes) {
		// <id> <ip:port@cport[,hostname]> <flags> <master> <ping> <pong> <config-epoch> <link> <slot> …
		const flags, epoch, first = 2, 6, 8
		fields := strings.Fields(line)
		if len(fields) < first || strings.Contains(fields[flags], "noaddr") || strings.Contains(fields[flags], "handshake") {
			continue
		}
		n := node{address: v.advertisedAddr(fields[1], preferNames), ranges: fields[first:]}
		n.master = strings.Contains(fields[flags], "master")
		var err error
		if n.epoch, err = strconv.ParseUint(fields[epoch], 10, 64); err == nil && n.address != "" {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// advertisedAddr returns the HOST:PORT that a line advertises. Names are preferred with TLS, as certificates are for
// names.
func (v view) advertisedAddr(advertised string, preferNames bool) string {
	address, more, _ := strings.Cut(advertised, ",")
	name, _, _ := strings.Cut(more, ",")
	address, _, _ = strings.Cut(address, "@")
	colon := strings.LastIndex(address, ":") // IPv6 addresses have no brackets here.
	if colon < 0 {
		return ""
	}
	host := address[:colon]
	if preferNames && name != "" && !strings.Contains(name, "=") {
		host = name
	}
	if host == "" {
		host, _, _ = net.SplitHostPort(v.address)
	}
	return net.JoinHostPort(host, address[colon+1:])
}

// shard is a master and the slots that it holds.
type shard struct {
	address string
	epoch   uint64 // config epoch; grows when the master takes over slots
	slots   []int  // in order
}

// equal reports whether a connection made for one shard can be used for the other.
func (s *shard) equal(other *shard) bool {
	return s.address == other.address && s.epoch == other.epoch && slices.Equal(s.slots, other.slots)
}

// claim is the master of a slot according to a view.
type claim struct {
	address string
	epoch   uint64
}

// merge returns the shards according to all views, and the addresses of all nodes. If two masters claim a slot, the one
// with the higher config epoch has it: the nodes themselves reach agreement by this rule. A claim from a view that
// knows an older epoch of the master than other views do is outdated, and leaves the slot without a master.
func merge(views []view, preferNames bool) (shards []*shard, addresses []string) {
	var best [slots]claim
	newest := map[string]uint64{}
	for _, v := range views {
		for _, n := range v.parse(preferNames) {
			before, known := newest[n.address]
			if !known {
				addresses = append(addresses, n.address)
			}
			newest[n.address] = max(before, n.epoch)
			if !n.master {
				continue
			}
			for _, slots := range n.ranges {
				claimRange(best[:], slots, claim{n.address, n.epoch})
			}
		}
	}
	byAddress := map[string]*shard{}
	for slot, c := range best {
		if c.address == "" || c.epoch != newest[c.address] {
			continue
		}
		s := byAddress[c.address]
		if s == nil {
			s = &shard{address: c.address, epoch: c.epoch}
			byAddress[c.address] = s
			shards = append(shards, s)
		}
		s.slots = append(s.slots, slot)
	}
	return shards, addresses
}

// claimRange records the claim of a range of slots such as 0-5460 or 7. It ignores slots in brackets, which are being
// moved to or from another node: their master is listed separately.
func claimRange(best []claim, slots string, by claim) {
	from, to, several := strings.Cut(slots, "-")
	if !several {
		to = from
	}
	first, err := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if err != nil || err2 != nil || first < 0 || last >= len(best) {
		return
	}
	for slot := first; slot <= last; slot++ {
		if best[slot].address == "" || by.epoch > best[slot].epoch {
			best[slot] = by
		}
	}
}
