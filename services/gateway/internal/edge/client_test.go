package edge

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

func TestClient(t *testing.T) {
	none := TrustedProxies{}
	trusted := TrustedProxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for name, test := range map[string]struct {
		trust     TrustedProxies
		peer      string
		forwarded []string
		want      string
	}{
		"without_a_proxy":                  {none, "192.0.2.1:4711", nil, "192.0.2.1"},
		"without_a_proxy_in_brackets":      {none, "[2001:DB8::7]:4711", nil, "2001:db8::7"},
		"IPv4_in_IPv6":                     {none, "[::ffff:192.0.2.1]:4711", nil, "192.0.2.1"},
		"with_a_zone":                      {none, "[fe80::1%eth0]:4711", nil, "fe80::1"},
		"a_Unix_socket":                    {none, "@", nil, ""},
		"a_client_that_forges_the_header":  {none, "192.0.2.1:4711", []string{"203.0.113.7"}, "192.0.2.1"},
		"an_untrusted_proxy":               {trusted, "192.0.2.1:4711", []string{"203.0.113.7"}, "192.0.2.1"},
		"one_proxy":                        {trusted, "10.0.0.1:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"one_proxy_by_IPv4_in_IPv6":        {trusted, "[::ffff:10.0.0.1]:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"one_proxy_and_a_forged_entry":     {trusted, "10.0.0.1:4711", []string{"1.2.3.4, 203.0.113.7"}, "203.0.113.7"},
		"a_forged_line":                    {trusted, "10.0.0.1:4711", []string{"1.2.3.4", "203.0.113.7"}, "203.0.113.7"},
		"a_forged_trusted_proxy_behind_it": {trusted, "10.0.0.1:4711", []string{"10.0.0.9, 203.0.113.7"}, "203.0.113.7"},
		"two_proxies":                      {trusted, "10.0.0.1:4711", []string{"1.2.3.4, 203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"two_proxies_of_both_kinds":        {trusted, "10.0.0.1:4711", []string{"203.0.113.7,2001:db8:1::2"}, "203.0.113.7"},
		"a_proxy_without_the_header":       {trusted, "10.0.0.1:4711", nil, "10.0.0.1"},
		"a_proxy_as_the_client":            {trusted, "10.0.0.1:4711", []string{"10.0.0.2"}, "10.0.0.2"},
		"with_a_port":                      {trusted, "10.0.0.1:4711", []string{"203.0.113.7:99"}, "203.0.113.7"},
		"with_brackets_and_a_port":         {trusted, "10.0.0.1:4711", []string{"[2001:db8::7]:99"}, "2001:db8::7"},
		"junk":                             {trusted, "10.0.0.1:4711", []string{"1.2.3.4, unknown"}, "10.0.0.1"},
		"junk_behind_a_good_one":           {trusted, "10.0.0.1:4711", []string{"junk, 10.0.0.2"}, "10.0.0.2"},
		"nothing_between_commas":           {trusted, "10.0.0.1:4711", []string{"1.2.3.4,,"}, "10.0.0.1"},
		"white_space":                      {trusted, "10.0.0.1:4711", []string{" \t203.0.113.7 "}, "203.0.113.7"},
		"ten_thousand_proxies": {
			trusted, "10.0.0.1:4711", []string{"203.0.113.7" + strings.Repeat(",10.0.0.2", 10_000)}, "10.0.0.2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := callctx.Client{Address: test.want, UserAgent: "curl/8"}
			if got := test.trust.Client(ParseAddress(test.peer), test.forwarded, "curl/8"); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestClientKey(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "2001:db8::7": "2001:db8::/64"} {
		info := callctx.NewClient(netip.MustParseAddr(address), "")
		if got := ClientKey(callctx.WithClient(t.Context(), info)); got.String() != want {
			t.Errorf("the key of %s is %s, want %s", address, got, want)
		}
	}
	if got := ClientKey(t.Context()); got != (shares.Key{}) {
		t.Errorf("the key without a client is %s", got)
	}
}

func FuzzForwardedFor(f *testing.F) {
	f.Add("203.0.113.7, 10.0.0.2")
	f.Add("[2001:db8::7]:99,::ffff:10.0.0.1")
	f.Add(",,fe80::1%eth0,")
	trust := TrustedProxies{netip.MustParsePrefix("10.0.0.0/8")}
	proxy := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, header string) {
		got := trust.clientAddress(proxy, []string{header})
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Errorf("%q is from %v", header, got)
		}
		if stranger := netip.MustParseAddr("192.0.2.1"); trust.clientAddress(stranger, []string{header}) != stranger {
			t.Errorf("%q is trusted from an unknown peer", header)
		}
	})
}
