package callctx

import (
	"context"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-auth/gatehouse/internal/redact"
)

// The metadata keys between services. The suffix -bin lets the user agent hold letters that other metadata cannot.
const (
	addressKey   = "x-gatehouse-client-address"
	userAgentKey = "x-gatehouse-user-agent-bin"
)

// maxUserAgent bounds the user agent that is stored, in bytes.
const maxUserAgent = 256

// Client is the client of a call. What is not known is empty.
type Client struct {
	Address   string // an IP address in canonical form
	UserAgent string // at most 256 bytes of printable UTF-8, without tokens
}

// NewClient returns a Client at an address, with the user agent that it sent.
func NewClient(address netip.Addr, userAgent string) Client {
	client := Client{UserAgent: redact.String(printable(userAgent))} // It is stored, and shown in lists of sessions.
	if address.IsValid() {
		client.Address = address.Unmap().WithZone("").String()
	}
	return client
}

// Lengths of the prefixes that stand for the network of a client. A phone that moves within them, or behind the
// addresses of one carrier, stays the same client.
const (
	ipv4Network = 24
	ipv6Network = 64
)

// SameClient reports whether two calls may come from one client: from one network, with the same user agent. It
// reports false if an address is not known.
func SameClient(a, b Client) bool {
	network, known := a.network()
	other, otherKnown := b.network()
	return known && otherKnown && network == other && a.UserAgent == b.UserAgent
}

func (c Client) network() (network netip.Prefix, known bool) {
	address, err := netip.ParseAddr(c.Address)
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

type clientKey struct{}

// WithClient returns a context that carries the client.
func WithClient(ctx context.Context, client Client) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// ClientFrom returns the client, which is empty if none is known.
func ClientFrom(ctx context.Context) Client {
	client, _ := ctx.Value(clientKey{}).(Client)
	return client
}

// printable removes from a user agent what a list of sessions or a log must not show, and cuts it between characters.
func printable(text string) string {
	if len(text) > 4*maxUserAgent { // A longer text costs work, and cannot become a longer result.
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
