package edge

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// ForwardedFor is the only header from which the gateway reads the addresses of clients behind proxies. `Forwarded`
// (RFC 7239) is not read beside it: of two headers one may be the client's own, which the proxy did not know to
// overwrite.
const ForwardedFor = "X-Forwarded-For"

// maxProxies bounds how many proxies in a row are followed.
const maxProxies = 32

// TrustedProxies are the networks of the proxies whose X-Forwarded-For is trusted. That of other peers is not, as a
// client can send any header.
type TrustedProxies []netip.Prefix

// Client returns the client of a request, by the address of its peer and by the values of its headers X-Forwarded-For
// and User-Agent.
func (p TrustedProxies) Client(peer netip.Addr, forwardedFor []string, userAgent string) callctx.Client {
	return callctx.NewClient(p.clientAddress(peer, forwardedFor), userAgent)
}

// ClientKey returns the key by which the shares of a call's client are counted. The context must carry the client.
func ClientKey(ctx context.Context) shares.Key {
	address, _ := netip.ParseAddr(callctx.ClientFrom(ctx).Address) // Clients without an address share one key.
	return shares.KeyOf(address)
}

// clientAddress returns the address of the client behind the proxies. Each proxy has appended the address of its peer
// to the header, so that it is read from the end, for as long as the address is that of a trusted proxy.
func (p TrustedProxies) clientAddress(peer netip.Addr, headers []string) netip.Addr {
	rest := strings.Join(headers, ",")
	for range maxProxies {
		if !p.Trust(peer) {
			break
		}
		comma := strings.LastIndexByte(rest, ',')
		before := ParseAddress(strings.TrimSpace(rest[comma+1:]))
		if !before.IsValid() {
			break // The header ends here, or holds no address: the last known peer counts as the client.
		}
		peer, rest = before, rest[:max(comma, 0)]
	}
	return peer
}

// Trust reports whether the address is that of a trusted proxy.
func (p TrustedProxies) Trust(address netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(address) })
}

// ParseAddress returns an IP address, with a port and in brackets or without. It returns the zero Addr for anything
// else.
func ParseAddress(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}
