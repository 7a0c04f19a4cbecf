package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

func TestWhoTheClientIs(t *testing.T) {
	none := trustedProxies{}
	ours := trustedProxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for name, test := range map[string]struct {
		trust     trustedProxies
		peer      string
		forwarded []string
		want      string
	}{
		"who connects":                          {none, "192.0.2.1:4711", nil, "192.0.2.1"},
		"who connects, in brackets":             {none, "[2001:DB8::7]:4711", nil, "2001:db8::7"},
		"IPv4 in IPv6":                          {none, "[::ffff:192.0.2.1]:4711", nil, "192.0.2.1"},
		"with a zone":                           {none, "[fe80::1%eth0]:4711", nil, "fe80::1"},
		"a Unix socket":                         {none, "@", nil, ""},
		"a client that forges the header":       {none, "192.0.2.1:4711", []string{"203.0.113.7"}, "192.0.2.1"},
		"one that is no proxy of ours":          {ours, "192.0.2.1:4711", []string{"203.0.113.7"}, "192.0.2.1"},
		"one proxy":                             {ours, "10.0.0.1:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"one proxy, by IPv4 in IPv6":            {ours, "[::ffff:10.0.0.1]:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"one proxy, and what the client forged": {ours, "10.0.0.1:4711", []string{"1.2.3.4, 203.0.113.7"}, "203.0.113.7"},
		"what the client forged in a line":      {ours, "10.0.0.1:4711", []string{"1.2.3.4", "203.0.113.7"}, "203.0.113.7"},
		"a forged proxy of ours behind it":      {ours, "10.0.0.1:4711", []string{"10.0.0.9, 203.0.113.7"}, "203.0.113.7"},
		"two proxies":                           {ours, "10.0.0.1:4711", []string{"1.2.3.4, 203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"two proxies of both kinds":             {ours, "10.0.0.1:4711", []string{"203.0.113.7,2001:db8:1::2"}, "203.0.113.7"},
		"a proxy that says nothing":             {ours, "10.0.0.1:4711", nil, "10.0.0.1"},
		"a proxy that calls for itself":         {ours, "10.0.0.1:4711", []string{"10.0.0.2"}, "10.0.0.2"},
		"with a port":                           {ours, "10.0.0.1:4711", []string{"203.0.113.7:99"}, "203.0.113.7"},
		"with brackets and a port":              {ours, "10.0.0.1:4711", []string{"[2001:db8::7]:99"}, "2001:db8::7"},
		"junk":                                  {ours, "10.0.0.1:4711", []string{"1.2.3.4, unknown"}, "10.0.0.1"},
		"junk behind a good one":                {ours, "10.0.0.1:4711", []string{"junk, 10.0.0.2"}, "10.0.0.2"},
		"nothing between commas":                {ours, "10.0.0.1:4711", []string{"1.2.3.4,,"}, "10.0.0.1"},
		"white space":                           {ours, "10.0.0.1:4711", []string{" \t203.0.113.7 "}, "203.0.113.7"},
		"ten thousand proxies": {
			ours, "10.0.0.1:4711", []string{"203.0.113.7" + strings.Repeat(",10.0.0.2", 10_000)}, "10.0.0.2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"X-Forwarded-For": test.forwarded, "User-Agent": {"curl/8"}}
			want := callctx.Client{Address: test.want, UserAgent: "curl/8"}
			if got := test.trust.ofHTTP(&http.Request{RemoteAddr: test.peer, Header: header}); got != want {
				t.Errorf("REST: %+v, want %+v", got, want)
			}
			ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: textAddr(test.peer)})
			ctx = metadata.NewIncomingContext(ctx, metadata.MD{"x-forwarded-for": test.forwarded, "user-agent": {"curl/8"}})
			if got := test.trust.ofGRPC(ctx); got != want {
				t.Errorf("gRPC: %+v, want %+v", got, want)
			}
		})
	}
	if got := none.ofGRPC(t.Context()); got != (callctx.Client{}) {
		t.Errorf("without a connection: %+v", got)
	}
}

func TestClientKey(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "2001:db8::7": "2001:db8::/64"} {
		info := callctx.NewClient(netip.MustParseAddr(address), "")
		if got := clientKey(callctx.WithClient(t.Context(), info)); got.String() != want {
			t.Errorf("the key of %s is %s, want %s", address, got, want)
		}
	}
	if got := clientKey(t.Context()); got != (shares.Key{}) {
		t.Errorf("the key of nobody is %s", got)
	}
}

type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

var _ net.Addr = textAddr("")

func FuzzForwardedFor(f *testing.F) {
	f.Add("203.0.113.7, 10.0.0.2")
	f.Add("[2001:db8::7]:99,::ffff:10.0.0.1")
	f.Add(",,fe80::1%eth0,")
	trust := trustedProxies{netip.MustParsePrefix("10.0.0.0/8")}
	proxy := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, header string) {
		got := trust.client(proxy, []string{header})
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Errorf("%q is from %v", header, got)
		}
		if stranger := netip.MustParseAddr("192.0.2.1"); trust.client(stranger, []string{header}) != stranger {
			t.Errorf("%q is believed of a stranger", header)
		}
	})
}
