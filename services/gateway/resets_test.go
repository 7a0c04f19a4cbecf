package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// requestHeaders returns a header block that needs no other before it.
func requestHeaders(fields ...string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	return block.Bytes()
}

func grpcHeaders(method string, more ...string) []byte {
	return requestHeaders(append([]string{
		":method", "POST", ":scheme", "http", ":path", method, ":authority", "gateway",
		"content-type", "application/grpc", "te", "trailers",
	}, more...)...)
}

func restHeaders(path string) []byte {
	return requestHeaders(":method", "GET", ":scheme", "http", ":path", path, ":authority", "gateway")
}

// startRequest sends the headers of a request, which has no body if end is true.
func startRequest(framer *http2.Framer, stream uint32, headers []byte, end bool) error {
	return framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: headers, EndHeaders: true, EndStream: end,
	})
}

// wantQuietLog fails the test if the log has a line on a call whose level alerts an operator.
func wantQuietLog(t *testing.T, log string) {
	t.Helper()
	shown := 0
	for line := range strings.Lines(log) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		ofCall := entry.Msg == "call" || entry.Msg == "request"
		if ofCall && entry.Level != "DEBUG" && entry.Level != "INFO" {
			if shown++; shown <= 3 {
				t.Errorf("the log has %s", line)
			}
		}
	}
	if shown > 3 {
		t.Errorf("and %d lines like these", shown-3)
	}
}

// TestRapidReset checks that a client that resets each request at once (CVE-2023-44487) causes no line of log above
// debug, and others are served meanwhile.
func TestRapidReset(t *testing.T) {
	const resets = 3000
	for name, test := range map[string]struct {
		headers []byte
		port    func(*testEnv) string
		end     bool
	}{
		"native gRPC, without a message": {grpcHeaders(createUserMethod), func(env *testEnv) string { return env.conn.Target() }, false},
		"native gRPC, of a deadline": {
			grpcHeaders(createUserMethod, "grpc-timeout", "50m"), func(env *testEnv) string { return env.conn.Target() }, false,
		},
		"native gRPC, at once": {
			grpcHeaders(gatehousev1.KeyService_ListKeys_FullMethodName), func(env *testEnv) string { return env.conn.Target() }, true,
		},
		"REST": {restHeaders("/.well-known/jwks.json"), func(env *testEnv) string { return env.base[len("http://"):] }, true},
	} {
		t.Run(name, func(t *testing.T) {
			env, _ := newServedEnv(t)
			conn := dialFrom(t, attacker, test.port(env))
			framer := wantOpen(t, conn)
			served := make(chan struct{})
			go func() {
				defer close(served)
				env.wantBystanderServed(t)
			}()
			ended := discard(conn)
			for i := range uint32(resets) {
				err := startRequest(framer, 2*i+1, test.headers, test.end)
				if err == nil {
					err = framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
				}
				if err != nil {
					break // The gateway has had enough.
				}
			}
			<-served
			env.wantBystanderServed(t)
			_ = conn.Close()
			<-ended
			wantQuietLog(t, env.stop(t))
		})
	}
}

// discard reads until the connection is closed, then closes the channel.
func discard(conn net.Conn) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = conn.SetReadDeadline(time.Time{})
		buffer := make([]byte, 16<<10)
		for {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
		}
	}()
	return ended
}

// TestAbandonedCalls checks that a call which ends by the client's own short deadline, or because the client disconnects,
// is not logged as a fault of the gateway.
func TestAbandonedCalls(t *testing.T) {
	u := newUpstream(t)
	entered := make(chan struct{}, 1)
	u.createUser = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
		entered <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	conn := u.serve(t)
	for name, abandon := range map[string]func(t *testing.T, env *testEnv){
		"native gRPC, by a deadline": func(t *testing.T, env *testEnv) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, _ = gatehousev1.NewUserServiceClient(env.grpcFrom(t, attacker)).CreateUser(ctx, &gatehousev1.CreateUserRequest{})
			<-entered
		},
		"native gRPC, by a reset": func(t *testing.T, env *testEnv) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-entered
				cancel()
			}()
			_, _ = gatehousev1.NewUserServiceClient(env.grpcFrom(t, attacker)).CreateUser(ctx, &gatehousev1.CreateUserRequest{})
		},
		"native gRPC, with the connection": func(t *testing.T, env *testEnv) {
			client := env.grpcFrom(t, attacker)
			go func() {
				<-entered
				_ = client.Close()
			}()
			_, _ = gatehousev1.NewUserServiceClient(client).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
		},
		"native gRPC, in the midst of a message": func(t *testing.T, env *testEnv) {
			conn := dialFrom(t, attacker, env.conn.Target())
			framer := wantOpen(t, conn)
			_ = startRequest(framer, 1, grpcHeaders(createUserMethod), false)
			_ = framer.WriteData(1, false, []byte{0, 0, 0, 0, 9, 1})
			_ = framer.WritePing(false, [8]byte{})
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
					break
				}
			}
			_ = conn.Close()
		},
		"native gRPC, that takes no headers": func(t *testing.T, env *testEnv) {
			conn := dialFrom(t, attacker, env.conn.Target())
			framer := wantOpen(t, conn)
			_ = framer.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1})
			_ = startRequest(framer, 1, grpcHeaders(gatehousev1.KeyService_ListKeys_FullMethodName), false)
			_ = framer.WriteData(1, true, make([]byte, 5))
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := frame.(*http2.RSTStreamFrame); ok {
					break
				}
			}
			_ = conn.Close()
		},
		"REST, with the connection": func(t *testing.T, env *testEnv) {
			client := httpFrom(t, attacker)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-entered
				cancel()
			}()
			request := postUser(t, ctx, env.base)
			if response, err := client.Do(request); err == nil {
				_ = response.Body.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := newTestEnv(t, conn, conn)
			abandon(t, env)
			env.wantBystanderServed(t)
			wantQuietLog(t, env.stop(t))
		})
	}
}

// postUser returns a request that creates a user.
func postUser(t *testing.T, ctx context.Context, base string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/users", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	return request
}
