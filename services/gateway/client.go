package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// forwardedFor is the one header by which proxies tell for whom they call. `Forwarded` (RFC 7239) is not read beside
// it: of two headers one may be the client's own, which the proxy did not know to overwrite.
const forwardedFor = "X-Forwarded-For"

// maxProxies bounds how many proxies in a row are followed.
const maxProxies = 32

// trustedProxies are the networks whose word is taken for whom they call. Everybody else's is not: a client can write
// any header.
type trustedProxies []netip.Prefix

// ofHTTP tells who the client of a REST request is.
func (p trustedProxies) ofHTTP(r *http.Request) callctx.Client {
	return callctx.NewClient(p.client(addressOf(r.RemoteAddr), r.Header.Values(forwardedFor)), r.UserAgent())
}

// ofGRPC tells who the client of a native gRPC call is.
func (p trustedProxies) ofGRPC(ctx context.Context) callctx.Client {
	var from netip.Addr
	if connected, ok := peer.FromContext(ctx); ok {
		from = addressOf(connected.Addr.String())
	}
	userAgent := strings.Join(metadata.ValueFromIncomingContext(ctx, "user-agent"), " ")
	return callctx.NewClient(p.client(from, metadata.ValueFromIncomingContext(ctx, forwardedFor)), userAgent)
}

// clientKey returns the key by which the shares of a call's client are counted. The context must carry the client.
func clientKey(ctx context.Context) shares.Key {
	address, _ := netip.ParseAddr(callctx.ClientFrom(ctx).Address) // Clients without an address share one key.
	return shares.KeyOf(address)
}

// client finds who is behind the proxies. Each proxy has put whom it was called by at the end of the header, so that it
// is read from the end, for as long as it is a proxy of ours that speaks.
func (p trustedProxies) client(from netip.Addr, headers []string) netip.Addr {
	rest := strings.Join(headers, ",")
	for range maxProxies {
		if !p.trust(from) {
			break
		}
		comma := strings.LastIndexByte(rest, ',')
		before := addressOf(strings.TrimSpace(rest[comma+1:]))
		if !before.IsValid() {
			break // Nobody says for whom it calls, or nobody understands it: this one is who is known.
		}
		from, rest = before, rest[:max(comma, 0)]
	}
	return from
}

func (p trustedProxies) trust(address netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(address) })
}

// addressOf reads an IP address, with a port and in brackets or without, and gives the zero Addr for anything else.
func addressOf(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}
