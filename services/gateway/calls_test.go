package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// fewCalls limits each client to a share of four calls and refusals.
func fewCalls(s *Service) {
	s.edge.Calls.UnderWay, s.edge.Calls.Refusals = shares.New(100, 4), shares.New(100, 4)
	s.grpc.Streams.Open = shares.New(100, 4)
}

// wantNothingHeld waits until all shares are released.
func (env *testEnv) wantNothingHeld(t testing.TB) {
	t.Helper()
	calls := env.service.edge.Calls
	for name, pool := range map[string]*shares.Pool{
		"calls": calls.UnderWay, "refusals": calls.Refusals, "streams": env.service.grpc.Streams.Open,
		"answers": env.service.edge.Answers.Large,
	} {
		testkit.Eventually(t, func() error {
			if held, clients := pool.Usage(); held != 0 || clients != 0 {
				return fmt.Errorf("%d %s of %d clients are held", held, name, clients)
			}
			return nil
		})
	}
}

// TestCalls checks that a client has a share of the calls under way, over all its connections and both transports.
func TestCalls(t *testing.T) {
	u := newUpstream(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	u.createUser = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
		entered <- struct{}{}
		select {
		case <-leave:
		case <-ctx.Done():
		}
		return nil
	}
	conn := u.serve(t)
	env := newConfiguredEnv(t, Config{
		Issuer: issuer, Audience: audience, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.4/32")},
	}, conn, conn, fewCalls)
	ended := make(chan error, 4)
	for range 2 {
		native, rest := env.grpcFrom(t, attacker), httpFrom(t, attacker)
		go func() {
			_, err := gatehousev1.NewUserServiceClient(native).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
			ended <- err
		}()
		<-entered
		go func() {
			response, err := rest.Do(postUser(t, t.Context(), env.base))
			if err == nil {
				err = response.Body.Close()
			}
			if err == nil && response.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s", response.Status)
			}
			ended <- err
		}()
		<-entered
	}
	list := func(conn *grpc.ClientConn, ctx context.Context) error {
		_, err := gatehousev1.NewKeyServiceClient(conn).ListKeys(ctx, &gatehousev1.ListKeysRequest{})
		return err
	}
	err := list(env.grpcFrom(t, attacker), t.Context())
	if st := status.Convert(err); apierr.ReasonOf(st) != overloaded || len(st.Details()) != 2 {
		t.Errorf("a fifth call over native gRPC: %v", err)
	}
	env.get(t, "/healthz").wantFailure(t, http.StatusTooManyRequests, "OVERLOADED")
	env.get(t, "/.well-known/jwks.json").wantHeader(t, "Retry-After", "1")
	env.wantBystanderServed(t)

	proxy := env.grpcFrom(t, "127.0.0.4")
	if err := list(proxy, metadata.AppendToOutgoingContext(t.Context(), edge.ForwardedFor, attacker)); apierr.ReasonOf(status.Convert(err)) != overloaded {
		t.Errorf("a fifth call through a proxy: %v", err)
	}
	if err := list(proxy, metadata.AppendToOutgoingContext(t.Context(), edge.ForwardedFor, bystander)); err != nil {
		t.Errorf("another client's call through the same proxy: %v", err)
	}

	close(leave)
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	env.wantNothingHeld(t)
	if err := list(env.grpcFrom(t, attacker), t.Context()); err != nil {
		t.Errorf("a call after the others have ended: %v", err)
	}
}

// withoutWindow opens HTTP/2 on a connection whose streams may not be sent any data.
func withoutWindow(t testing.TB, conn net.Conn) *http2.Framer {
	t.Helper()
	framer := wantOpen(t, conn)
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	return framer
}

// largeHeaders are restHeaders with more than edge.MaxHeaderBytes: of each repeated field, HPACK sends one byte.
func largeHeaders(path string) []byte {
	var repeated bytes.Buffer
	encoder := hpack.NewEncoder(&repeated)
	for range edge.MaxHeaderBytes/edge.FieldOverhead + 1 {
		_ = encoder.WriteField(hpack.HeaderField{Name: "x-a", Value: "b"}) // A Buffer does not fail.
	}
	return append(restHeaders(path), repeated.Bytes()...)
}

// readHeaders reads frames until one has headers, which it returns with its stream.
func readHeaders(t testing.TB, framer *http2.Framer, decoder *hpack.Decoder) (uint32, map[string]string) {
	t.Helper()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		headers, ok := frame.(*http2.HeadersFrame)
		if !ok {
			continue
		}
		fields, err := decoder.DecodeFull(headers.HeaderBlockFragment())
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, field := range fields {
			found[field.Name] = field.Value
		}
		return headers.StreamID, found
	}
}

// TestUnreadAnswers checks that answers for which a client opens no flow-control window count as calls under way, and
// do not wait for long.
func TestUnreadAnswers(t *testing.T) {
	listKeys := grpcHeaders(gatehousev1.KeyService_ListKeys_FullMethodName)
	startCall := func(t testing.TB, framer *http2.Framer, stream uint32) {
		t.Helper()
		if err := startRequest(framer, stream, listKeys, false); err != nil {
			t.Fatal(err)
		}
		if err := framer.WriteData(stream, true, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("native_gRPC", func(t *testing.T) {
		u := newUpstream(t)
		upstream := u.serve(t)
		env := newTestEnv(t, upstream, upstream, fewCalls)
		var conns []net.Conn
		for range 2 {
			conn := dialFrom(t, attacker, env.conn.Target())
			conns = append(conns, conn)
			framer, decoder := withoutWindow(t, conn), hpack.NewDecoder(4096, nil)
			for i := range uint32(2) {
				startCall(t, framer, 2*i+1)
				if _, headers := readHeaders(t, framer, decoder); headers["grpc-status"] != "" {
					t.Fatalf("a call within the share has %v", headers)
				}
			}
		}
		conn := dialFrom(t, attacker, env.conn.Target())
		framer, decoder := withoutWindow(t, conn), hpack.NewDecoder(4096, nil)
		startCall(t, framer, 1)
		if _, headers := readHeaders(t, framer, decoder); headers["grpc-status"] != "8" {
			t.Errorf("a call beyond the share has %v", headers)
		}
		env.wantBystanderServed(t)

		// A reset releases the share.
		if err := http2.NewFramer(conns[0], nil).WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, func() error {
			if held, _ := env.service.grpc.Streams.Open.Usage(); held != 3 {
				return fmt.Errorf("%d streams are held", held)
			}
			return nil
		})
		startCall(t, framer, 3)
		if stream, headers := readHeaders(t, framer, decoder); stream != 3 || headers["grpc-status"] != "" {
			t.Errorf("stream %d, a call within the share again, has %v", stream, headers)
		}
		for _, conn := range append(conns, conn) {
			_ = conn.Close()
		}
		env.wantNothingHeld(t)
	})

	t.Run("native_gRPC_in_time", func(t *testing.T) {
		u := newUpstream(t)
		upstream := u.serve(t)
		env := newTestEnv(t, upstream, upstream, fewCalls, func(s *Service) { s.grpc.Streams.Timeout = 100 * time.Millisecond })
		conn := dialFrom(t, attacker, env.conn.Target())
		framer := withoutWindow(t, conn)
		startCall(t, framer, 1)
		startCall(t, framer, 3)
		awaitClosed(t, conn)
		env.wantNothingHeld(t)
		env.wantBystanderServed(t)
	})

	for name, test := range map[string]struct {
		headers []byte
		status  string
	}{
		"REST over HTTP/2":                     {restHeaders("/.well-known/jwks.json"), "200"},
		"REST over HTTP/2, with large headers": {largeHeaders("/.well-known/jwks.json"), "431"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			upstream := u.serve(t)
			env := newTestEnv(t, upstream, upstream, fewCalls)
			for i := range 6 {
				conn := dialFrom(t, attacker, env.ports()["REST"])
				framer, decoder := withoutWindow(t, conn), hpack.NewDecoder(4096, nil)
				for j := range uint32(2) {
					if err := startRequest(framer, 2*j+1, test.headers, true); err != nil {
						t.Fatal(err)
					}
					if i == 4 && j == 0 { // The share of refusals is used up as well.
						wantReset(t, framer, 1)
						break
					}
					want := test.status
					if i >= 2 {
						want = "429"
					}
					if _, headers := readHeaders(t, framer, decoder); headers[":status"] != want {
						t.Fatalf("request %d of connection %d has %v, want %s", j, i, headers, want)
					}
				}
				if i == 4 {
					break
				}
			}
			env.wantBystanderServed(t)
		})
	}

	t.Run("REST_over_HTTP/2_in_time", func(t *testing.T) {
		u := newUpstream(t)
		upstream := u.serve(t)
		env := newTestEnv(t, upstream, upstream, fewCalls,
			func(s *Service) { s.rest.HTTP.WriteTimeout = 100 * time.Millisecond })
		conn := dialFrom(t, attacker, env.ports()["REST"])
		framer := withoutWindow(t, conn)
		if err := startRequest(framer, 1, restHeaders("/.well-known/jwks.json"), true); err != nil {
			t.Fatal(err)
		}
		wantReset(t, framer, 1)
		env.wantNothingHeld(t)
		env.wantBystanderServed(t)
	})

	t.Run("REST_over_HTTP/1.1_in_time", func(t *testing.T) {
		u := newUpstream(t)
		upstream := u.serve(t)
		env := newTestEnv(t, upstream, upstream, fewCalls,
			func(s *Service) { s.rest.HTTP.WriteTimeout = 100 * time.Millisecond })
		conn := dialFrom(t, attacker, env.ports()["REST"])
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
		requests := strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n", 1000)
		for {
			_, err := io.WriteString(conn, requests)
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				t.Fatal("the connection is still open")
			}
			if err != nil {
				break
			}
		}
		env.wantNothingHeld(t)
		env.wantBystanderServed(t)
	})
}

// wantReset reads frames until the gateway has reset the stream.
func wantReset(t testing.TB, framer *http2.Framer, stream uint32) {
	t.Helper()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok {
			if reset.StreamID != stream {
				t.Errorf("stream %d is reset", reset.StreamID)
			}
			return
		}
	}
}
