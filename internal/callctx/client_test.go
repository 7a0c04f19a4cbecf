package callctx

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"
)

func TestNew(t *testing.T) {
	for _, test := range []struct{ address, wanted string }{
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:DB8:0::7", "2001:db8::7"},
		{"fe80::1%eth0", "fe80::1"},
	} {
		if got := NewClient(netip.MustParseAddr(test.address), "").Address; got != test.wanted {
			t.Errorf("%s is %s, want %s", test.address, got, test.wanted)
		}
	}
	if got := NewClient(netip.Addr{}, "curl/8"); got != (Client{UserAgent: "curl/8"}) {
		t.Errorf("without an address it is %+v", got)
	}
}

func TestUserAgent(t *testing.T) {
	for name, test := range map[string]struct{ agent, wanted string }{
		"as it is":     {"Mozilla/5.0 (X11; Linux) \u00e9\U0001F9D1", "Mozilla/5.0 (X11; Linux) \u00e9\U0001F9D1"},
		"controls":     {"a\r\nb\x00c\x1b[31md\u0085e", "abc[31mde"},
		"directions":   {"a\u202eb\u2066c\u200bd", "abcd"},
		"lines":        {"a\u2028b\u2029c", "abc"},
		"no UTF-8":     {"a\xff\xc3b", "ab"},
		"white space":  {"  a b  ", "a b"},
		"long":         {strings.Repeat("a", 300), strings.Repeat("a", 256)},
		"long letters": {strings.Repeat("\u00e9", 128) + "a", strings.Repeat("\u00e9", 128)},
		"cut between":  {strings.Repeat("a", 255) + "\u00e9", strings.Repeat("a", 255)},
		"a token":      {"app/1 ghrt_AZcOLHoQe16MQw1vGp4rVA (iOS)", "app/1 [token] (iOS)"},
		"very long":    {strings.Repeat("\x00", 1<<20) + "a", ""},
	} {
		if got := NewClient(netip.Addr{}, test.agent).UserAgent; got != test.wanted {
			t.Errorf("%s: %q is %q, want %q", name, test.agent, got, test.wanted)
		}
	}
}

func TestOutgoingAndFromIncoming(t *testing.T) {
	for _, info := range []Client{
		{}, {Address: "192.0.2.1"}, {UserAgent: "\u00e9"}, {Address: "2001:db8::7", UserAgent: "curl/8 \U0001F9D1"},
	} {
		pairs := Outgoing(WithClient(t.Context(), info))
		ctx := FromIncoming(metadata.NewIncomingContext(t.Context(), metadata.Pairs(pairs...)))
		if got := ClientFrom(ctx); got != info {
			t.Errorf("sent %+v, read %+v", info, got)
		}
	}
	hostile := metadata.Pairs(addressKey, "192.0.2.1 OR 1=1", userAgentKey, "a\nb")
	got := ClientFrom(FromIncoming(metadata.NewIncomingContext(t.Context(), hostile)))
	if got != (Client{UserAgent: "ab"}) {
		t.Errorf("read %+v", got)
	}
	if ClientFrom(t.Context()) != (Client{}) {
		t.Error("a client where none is known")
	}
}

func FuzzUserAgent(f *testing.F) {
	f.Add("Mozilla/5.0")
	f.Add("\xff\u202e" + strings.Repeat("\u00e9", 200))
	f.Fuzz(func(t *testing.T, agent string) {
		got := NewClient(netip.Addr{}, agent).UserAgent
		if len(got) > maxUserAgent || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00\u202e\u2028") {
			t.Errorf("%q is %q", agent, got)
		}
		if again := NewClient(netip.Addr{}, got).UserAgent; again != got {
			t.Errorf("%q is %q the second time", got, again)
		}
	})
}

func TestSame(t *testing.T) {
	const agent = "Mozilla/5.0"
	for _, test := range []struct {
		a, b Client
		want bool
	}{
		{Client{"192.0.2.1", agent}, Client{"192.0.2.1", agent}, true},
		{Client{"192.0.2.1", agent}, Client{"192.0.2.255", agent}, true},
		{Client{"192.0.2.1", agent}, Client{"192.0.3.1", agent}, false},
		{Client{"192.0.2.1", agent}, Client{"192.0.2.1", agent + " "}, false},
		{Client{"192.0.2.1", ""}, Client{"192.0.2.1", ""}, true},
		{Client{"2001:db8:0:1::7", agent}, Client{"2001:db8:0:1:ffff::", agent}, true},
		{Client{"2001:db8:0:1::7", agent}, Client{"2001:db8:0:2::7", agent}, false},
		{Client{"::ffff:192.0.2.1", agent}, Client{"192.0.2.2", agent}, true},
		{Client{"0.0.0.1", agent}, Client{"::1", agent}, false},
		{Client{"", agent}, Client{"", agent}, false},
		{Client{"garbage", agent}, Client{"garbage", agent}, false},
	} {
		if got := SameClient(test.a, test.b); got != test.want || SameClient(test.b, test.a) != got {
			t.Errorf("%v and %v: %v, want %v", test.a, test.b, got, test.want)
		}
	}
}
