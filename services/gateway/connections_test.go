package gateway

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

// ports are the addresses of both public ports of a gateway.
func (env *testEnv) ports() map[string]string {
	return map[string]string{"REST": env.base[len("http://"):], "gRPC": env.conn.Target()}
}

// awaitClosed fails the test unless the gateway closes the connection.
func awaitClosed(t testing.TB, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err := io.Copy(io.Discard, conn)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Error("the connection is still open")
	}
}

// emptySettings is a SETTINGS frame without any.
const emptySettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// wantOpen fails the test unless the gateway answers an HTTP/2 client on the connection. Both ports speak HTTP/2.
func wantOpen(t testing.TB, conn net.Conn) *http2.Framer {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if _, err := framer.ReadFrame(); err != nil {
		t.Fatalf("the connection is not served: %v", err)
	}
	return framer
}

func TestConnections(t *testing.T) {
	t.Run("beyond_the_share_of_an_address_are_closed", func(t *testing.T) {
		env, _ := newServedEnv(t)
		for name, address := range env.ports() {
			t.Run(name, func(t *testing.T) {
				for range env.service.limits.PerClient {
					wantOpen(t, dialFrom(t, attacker, address))
				}
				oneMore := dialFrom(t, attacker, address)
				_, _ = io.WriteString(oneMore, http2.ClientPreface+emptySettings)
				awaitClosed(t, oneMore)
				env.wantBystanderServed(t)
			})
		}
	})

	t.Run("from_a_few_addresses_do_not_keep_others_out", func(t *testing.T) {
		u := newUpstream(t)
		conn := u.serve(t)
		env := newTestEnv(t, conn, conn, func(s *Service) { s.limits.Total, s.limits.PerClient = 100, 60 })
		for name, address := range env.ports() {
			t.Run(name, func(t *testing.T) {
				for range 50 {
					wantOpen(t, dialFrom(t, attacker, address))
					wantOpen(t, dialFrom(t, "127.0.0.3", address))
				}
				env.wantBystanderServed(t)
			})
		}
	})

	t.Run("of_a_trusted_proxy_are_not_shared_out", func(t *testing.T) {
		u := newUpstream(t)
		conn := u.serve(t)
		env := newConfiguredEnv(t, Config{
			Issuer: issuer, Audience: audience, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.4/32")},
		}, conn, conn)
		for name, address := range env.ports() {
			t.Run(name, func(t *testing.T) {
				var last net.Conn
				for range env.service.limits.PerClient + 1 {
					last = dialFrom(t, "127.0.0.4", address)
				}
				wantOpen(t, last)
				env.wantBystanderServed(t)
			})
		}
	})

	for name, sent := range map[string]string{
		"nothing":             "",
		"a_part_of_a_request": "GET /healthz HTTP/1.1\r\nHost: gate",
		"a_part_of_a_preface": http2.ClientPreface[:10],
		"a_preface_alone":     http2.ClientPreface,
	} {
		for port, serve := range map[string]func(*Service, net.Listener){
			"REST": func(s *Service, listener net.Listener) { _ = s.rest.HTTP.Serve(listener) },
			"gRPC": func(s *Service, listener net.Listener) { _ = s.grpc.GRPC.Serve(listener) },
		} {
			t.Run("without_a_complete_request_are_closed_in_time/"+name+"_over_"+port, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					service, listener := newPipedService(t)
					go serve(service, listener)
					began := time.Now()
					conn, err := listener.dial()
					if err != nil {
						t.Fatal(err)
					}
					go func() { _, _ = io.WriteString(conn, sent) }()
					_, _ = io.Copy(io.Discard, conn) // It ends when the gateway closes the connection.
					if open := time.Since(began); open > deadlines.ReadHeaders+time.Second {
						t.Errorf("the connection was open for %v", open)
					}
					_ = service.rest.HTTP.Close()
					service.grpc.GRPC.Stop()
				})
			})
		}
	}
}
