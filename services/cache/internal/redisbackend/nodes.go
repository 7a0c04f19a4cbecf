package redisbackend

import (
	"net"
	"strconv"
	"strings"
)

// slots is how many slots a cluster has.
const slots = 1 << 14

// slot is where a cluster keeps the keys of a tag: CRC-16/XMODEM, as its specification says.
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

// view is what one node of a cluster knows: the answer to CLUSTER NODES, and where it is from.
type view struct{ address, nodes string }

// node is a line of a view.
type node struct {
	address string
	master  bool
	epoch   uint64
	ranges  []string
}

// parse gives the nodes of a view that can be reached. A node that does not know its own address is where it was asked.
func (v view) parse(preferNames bool) []node {
	var nodes []node
	for line := range strings.Lines(v.nodes) {
		// <id> <ip:port@cport[,hostname]> <flags> <master> <ping> <pong> <config-epoch> <link> <slot> …
		const flags, epoch, first = 2, 6, 8
		fields := strings.Fields(line)
		if len(fields) < first || strings.Contains(fields[flags], "noaddr") || strings.Contains(fields[flags], "handshake") {
			continue
		}
		n := node{address: v.place(fields[1], preferNames), ranges: fields[first:]}
		n.master = strings.Contains(fields[flags], "master")
		var err error
		if n.epoch, err = strconv.ParseUint(fields[epoch], 10, 64); err == nil && n.address != "" {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// place gives the HOST:PORT of what stands in a line. Certificates are of names.
func (v view) place(told string, preferNames bool) string {
	address, more, _ := strings.Cut(told, ",")
	name, _, _ := strings.Cut(more, ",")
	address, _, _ = strings.Cut(address, "@")
	colon := strings.LastIndex(address, ":") // An IPv6 address has no brackets here.
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

// shard is a master and the slots that it keeps.
type shard struct {
	address string
	epoch   uint64 // grows whenever the master takes slots over from another
	slots   []int  // in order
}

// same tells whether a connection made for one shard is good for the other.
func (s *shard) same(other *shard) bool {
	if s.address != other.address || s.epoch != other.epoch || len(s.slots) != len(other.slots) {
		return false
	}
	for i, slot := range s.slots {
		if other.slots[i] != slot {
			return false
		}
	}
	return true
}

// claim is what a view says of a slot.
type claim struct {
	address string
	epoch   uint64
}

// merge gives the shards by what all views say, and the addresses of all nodes. Of two who claim a slot, the one of the
// higher epoch has it: by this rule the nodes come to agree themselves. What is said of a slot by a view that knows an
// older epoch of its master than others do is out of date, and the slot is nobody's.
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
				claimAll(best[:], slots, claim{n.address, n.epoch})
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

// claimAll takes a range of slots such as 0-5460 or 7. Slots on their way to or from another node stand in brackets,
// and their master has them still.
func claimAll(best []claim, slots string, by claim) {
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
