package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	unread       = 20_000 // requests whose answers nobody reads
	unreadOfConn = 100    // of them, those of one connection
)

// wantBystanderServed fails the test unless a client at an address that holds nothing is served on both ports.
func (env *testEnv) wantBystanderServed(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := grpc.NewClient(env.native, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := gatehousev1.NewKeyServiceClient(conn).ListKeys(ctx, &gatehousev1.ListKeysRequest{}); err != nil {
		tb.Errorf("a bystander is not served over native gRPC: %v", err)
	}
	client := http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}, Timeout: 20 * time.Second,
	}
	response, err := client.Get("http://" + env.rest + "/.well-known/jwks.json")
	if err != nil {
		tb.Errorf("a bystander is not served over REST: %v", err)
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		tb.Errorf("a bystander is not served over REST: %s", response.Status)
	}
}

// idleOneAddress opens connections from one address, as if it could take all that a port has.
func idleOneAddress(tb testing.TB, env *testEnv, hold *holder) string {
	tb.Helper()
	open := 0
	for range idle {
		if isServed(hold.dialFrom(tb, net.IPv4(127, 0, 0, 1), env.native)) {
			open++
		}
	}
	return fmt.Sprintf("%d of %d connections are open", open, idle)
}

// isServed reports whether the gateway answers on a new connection.
func isServed(conn net.Conn) bool {
	framer := http2.NewFramer(conn, conn)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return false
	}
	if err := framer.WriteSettings(); err != nil {
		return false
	}
	_, err := framer.ReadFrame()
	return err == nil
}

// idleEverywhere opens connections to both ports: nearly as many as there may be files where that is 20,000.
func idleEverywhere(tb testing.TB, env *testEnv, hold *holder) string {
	tb.Helper()
	served := 0
	for i := range 2 * idle {
		address := env.native
		if i%2 == 0 {
			address = env.rest
		}
		if isServed(hold.dial(tb, address)) {
			served++
		}
	}
	env.wantBystanderServed(tb)
	return fmt.Sprintf("%d were opened", served)
}

// unreadGRPC returns a hoard of calls from so many addresses, on connections without a flow-control window.
func unreadGRPC(addresses int) func(testing.TB, *testEnv, *holder) string {
	return func(tb testing.TB, env *testEnv, hold *holder) string {
		tb.Helper()
		headers := callHeaders(gatehousev1.KeyService_ListKeys_FullMethodName)
		return leaveUnread(tb, env.native, addresses, hold, func(framer *http2.Framer, stream uint32) {
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers, EndHeaders: true})
			_ = framer.WriteData(stream, true, make([]byte, 5))
		})
	}
}

// unreadREST is unreadGRPC for requests of REST.
func unreadREST(addresses int) func(testing.TB, *testEnv, *holder) string {
	return func(tb testing.TB, env *testEnv, hold *holder) string {
		tb.Helper()
		var headers bytes.Buffer
		encoder := hpack.NewEncoder(&headers)
		for _, field := range [][2]string{
			{":method", "GET"}, {":scheme", "http"}, {":path", "/openapi.json"}, {":authority", "gateway"},
		} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true})
		}
		return leaveUnread(tb, env.rest, addresses, hold, func(framer *http2.Framer, stream uint32) {
			_ = framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: stream, BlockFragment: headers.Bytes(), EndHeaders: true, EndStream: true,
			})
		})
	}
}

// leaveUnread starts requests and waits until the gateway has answered each with headers or a reset. It returns how
// many got the headers of an answer.
func leaveUnread(
	tb testing.TB, address string, addresses int, hold *holder, start func(framer *http2.Framer, stream uint32),
) string {
	tb.Helper()
	answered := 0
	for i := range unread / unreadOfConn {
		conn := hold.dialFrom(tb, net.IPv4(127, 0, 1, byte(1+i%addresses)), address)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		framer := greet(tb, conn)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		for stream := range uint32(unreadOfConn) {
			start(framer, 2*stream+1)
		}
		answered += countAnswers(framer)
	}
	return fmt.Sprintf("%d of %d are answered", answered, unread)
}

// countAnswers reads until each request of a connection has the headers of an answer, or is refused.
func countAnswers(framer *http2.Framer) (answered int) {
	seen := map[uint32]bool{}
	for len(seen) < unreadOfConn {
		frame, err := framer.ReadFrame()
		if err != nil {
			return answered
		}
		headers, ok := frame.(*http2.MetaHeadersFrame)
		if _, reset := frame.(*http2.RSTStreamFrame); !seen[frame.Header().StreamID] && (ok || reset) {
			seen[frame.Header().StreamID] = true
			if ok && !headers.StreamEnded() && headers.PseudoValue("status") == "200" {
				answered++
			}
		}
	}
	return answered
}
