package load

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

const (
	idle    = 9_000 // connections that do nothing
	slow    = 1000  // connections that read slowly
	largest = 200   // bodies of the greatest size at once
)

// maxRSS is what the gateway may have in memory whatever clients do of what is measured here, in MiB. A container with
// half a GiB is what people give to such a service.
const maxRSS = 512

// hoard is something that clients hold on to. It opens what it holds, and returns how many of it were opened.
type hoard struct {
	name string
	open func(tb testing.TB, env *testEnv, hold *holder) (held string)
}

func hoards() []hoard {
	return []hoard{
		{"idle HTTP/1.1 connections", idleHTTP1},
		{"idle HTTP/2 connections to REST", idleHTTP2},
		{"idle native gRPC connections", idleGRPC},
		{"idle connections beyond the share of one address", idleOneAddress},
		{"idle connections to both ports", idleEverywhere},
		{"unread answers over native gRPC, of one address", unreadGRPC(1)},
		{"unread answers over native gRPC, of 40 addresses", unreadGRPC(40)},
		{"unread answers over REST (HTTP/2), of 40 addresses", unreadREST(40)},
		{"slow readers of /openapi.json", slowReaders},
		{"bodies of 16 KiB without the last byte, one client", withheldBodies(1)},
		{"bodies of 16 KiB without the last byte, 25 clients", withheldBodies(25)},
		{"messages of 16 KiB without the last byte, one client", withheldMessages(1)},
		{"messages of 16 KiB without the last byte, 25 clients", withheldMessages(25)},
		{"bodies of 256 KiB at once over REST", largestREST},
		{"messages of 256 KiB at once over native gRPC", largestGRPC},
		{"compressed messages of 1 MiB, one client", compressedMessages},
		{"answers of reflection not taken, one client", unreadReflection(1)},
		{"answers of reflection not taken, 25 clients", unreadReflection(25)},
	}
}

// holder stores connections open until it lets go of them.
type holder struct{ conns []net.Conn }

// perAddress is how many connections are opened from one address: less than a client's share.
const perAddress = 400

func (h *holder) dial(tb testing.TB, address string) net.Conn {
	tb.Helper()
	return h.dialFrom(tb, net.IPv4(127, 0, 1, byte(1+len(h.conns)/perAddress)), address)
}

func (h *holder) dialFrom(tb testing.TB, local net.IP, address string) net.Conn {
	tb.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: local}}
	conn, err := dialer.DialContext(tb.Context(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	h.conns = append(h.conns, conn)
	return conn
}

func (h *holder) letGo() {
	for _, conn := range h.conns {
		_ = conn.Close()
	}
	h.conns = nil
}

// idleHTTP1 sends one request on each connection, so that it has been used.
func idleHTTP1(tb testing.TB, env *testEnv, hold *holder) string {
	tb.Helper()
	for range idle {
		conn := hold.dial(tb, env.rest)
		write(tb, conn, "GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")
		read(tb, conn, `{"status":"SERVING"}`)
	}
	return fmt.Sprint(idle)
}

func idleHTTP2(tb testing.TB, env *testEnv, hold *holder) string {
	tb.Helper()
	return idleFrames(tb, env.rest, hold)
}

func idleGRPC(tb testing.TB, env *testEnv, hold *holder) string {
	tb.Helper()
	return idleFrames(tb, env.native, hold)
}

func idleFrames(tb testing.TB, address string, hold *holder) string {
	tb.Helper()
	for range idle {
		greet(tb, hold.dial(tb, address))
	}
	return fmt.Sprint(idle)
}

// greet opens HTTP/2 on a connection, and waits until the gateway has answered.
func greet(tb testing.TB, conn net.Conn) *http2.Framer {
	tb.Helper()
	return greetWith(tb, conn)
}

func greetWith(tb testing.TB, conn net.Conn, settings ...http2.Setting) *http2.Framer {
	tb.Helper()
	write(tb, conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(settings...); err != nil {
		tb.Fatal(err)
	}
	if _, err := framer.ReadFrame(); err != nil {
		tb.Fatal(err)
	}
	if err := framer.WriteSettingsAck(); err != nil {
		tb.Fatal(err)
	}
	return framer
}

// slowReaders send requests continually on each connection, as long as the gateway takes requests, and read nothing.
func slowReaders(tb testing.TB, env *testEnv, hold *holder) string {
	tb.Helper()
	for range slow {
		conn := hold.dial(tb, env.rest)
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		write(tb, conn, strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n", 50))
	}
	return fmt.Sprint(slow)
}

func atOnce(call func() string) string {
	var group sync.WaitGroup
	got := make(chan string, largest)
	for range largest {
		group.Go(func() { got <- call() })
	}
	group.Wait()
	close(got)
	count := map[string]int{}
	for each := range got {
		count[each]++
	}
	return fmt.Sprint(count)
}

// BenchmarkLimits measures the memory of the gateway while clients hold on to what they get, and fails if it is more
// than it may be.
func BenchmarkLimits(b *testing.B) {
	var table strings.Builder
	fmt.Fprintf(&table, "%-44s %10s %10s   %s\n", "", "before", "most", "held")
	for _, hoard := range hoards() {
		env := newTestEnv(b, 1) // Each on a new gateway: what one leaves behind is not the next one's.
		before := env.rss(b, "VmRSS")
		var hold holder
		held := hoard.open(b, env, &hold)
		env.wantBystanderServed(b)
		most := env.rss(b, "VmHWM")
		fmt.Fprintf(&table, "%-44s %6d MiB %6d MiB   %s\n", hoard.name, before, most, held)
		if most > maxRSS {
			b.Errorf("%s: %d MiB", hoard.name, most)
		}
		hold.letGo()
		cluster.AwaitReady(b, env.gateway)
	}
	fmt.Fprintln(os.Stdout, table.String())
}

// rss returns a figure of the memory of the gateway, in MiB: VmRSS is what it has now, VmHWM the most that it ever had.
func (env *testEnv) rss(tb testing.TB, figure string) int {
	tb.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", env.gateway.PID()))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(line, figure+":"); found {
			var kib int
			if _, err := fmt.Sscan(value, &kib); err != nil {
				tb.Fatal(err)
			}
			return kib / 1024
		}
	}
	tb.Fatalf("the status has no %s", figure)
	return 0
}
