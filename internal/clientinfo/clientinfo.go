// Package clientinfo carries who the client of a call is, as the gateway saw it: its address, and what it calls itself.
package clientinfo

import (
	"context"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/redact"
)

// The metadata keys between services. A user agent may hold letters that metadata cannot, but under a key that ends so.
const (
	addressKey   = "x-gatehouse-client-address"
	userAgentKey = "x-gatehouse-user-agent-bin"
)

// maxUserAgent bounds what a client may have us keep, in bytes.
const maxUserAgent = 256

// Info is who the client is. What is not known is empty.
type Info struct {
	Address   string // an IP address in its one canonical form
	UserAgent string // at most 256 bytes of UTF-8, without tokens; nothing in it hides or turns what stands around it
}

// New makes an Info of an address and of the client's own word.
func New(address netip.Addr, userAgent string) Info {
	info := Info{UserAgent: redact.String(printable(userAgent))} // It is stored, and shown in lists of sessions.
	if address.IsValid() {
		info.Address = address.Unmap().WithZone("").String()
	}
	return info
}

// Lengths of the prefixes that stand for the network of a client. A phone that moves within them, or behind the
// addresses of one carrier, stays the same client.
const (
	ipv4Network = 24
	ipv6Network = 64
)

// Same reports whether two calls may come from one client: from one network, with the same user agent. A client whose
// address is not known is not the same as any.
func Same(a, b Info) bool {
	network, known := a.network()
	other, otherKnown := b.network()
	return known && otherKnown && network == other && a.UserAgent == b.UserAgent
}

func (i Info) network() (network netip.Prefix, known bool) {
	address, err := netip.ParseAddr(i.Address)
	if err != nil {
		return netip.Prefix{}, false
	}
	address = address.Unmap().WithZone("")
	bits := ipv6Network
	if address.Is4() {
		bits = ipv4Network
	}
	network, err = address.Prefix(bits)
	return network, err == nil
}

type contextKey struct{}

// With gives a context that carries the client.
func With(ctx context.Context, info Info) context.Context {
	return context.WithValue(ctx, contextKey{}, info)
}

// FromContext gives the client, empty where none is known.
func FromContext(ctx context.Context) Info {
	info, _ := ctx.Value(contextKey{}).(Info)
	return info
}

// FromIncoming gives a context that carries the client that the gateway tells in the incoming gRPC metadata. Only a
// service behind the gateway may ask: at the gateway, what comes in is the client's own.
func FromIncoming(ctx context.Context) context.Context {
	address, _ := netip.ParseAddr(first(ctx, addressKey)) // What is no address is none.
	return With(ctx, New(address, first(ctx, userAgentKey)))
}

// Outgoing gives the client as pairs of gRPC metadata, for a call to another service.
func Outgoing(ctx context.Context) []string {
	info := FromContext(ctx)
	var pairs []string
	if info.Address != "" {
		pairs = append(pairs, addressKey, info.Address)
	}
	if info.UserAgent != "" {
		pairs = append(pairs, userAgentKey, info.UserAgent)
	}
	return pairs
}

func first(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// printable leaves out of a user agent what a list of sessions or a log must not show, and cuts it between characters.
func printable(text string) string {
	if len(text) > 4*maxUserAgent { // More cannot be left of it than is wanted, but could be worked on.
		text = text[:4*maxUserAgent]
	}
	text = strings.Map(func(char rune) rune {
		if char == utf8.RuneError || !unicode.IsPrint(char) { // Controls, line separators and direction marks are not.
			return -1
		}
		return char
	}, text)
	text = strings.TrimSpace(text)
	for len(text) > maxUserAgent {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
