package grpcx_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// TestConnections checks that one address cannot take all connections of a service behind the gateway.
func TestConnections(t *testing.T) {
	const share = 256
	server, err := grpcx.NewServer(slog.New(slog.DiscardHandler),
		authn.NewAuthenticator(nil, authn.NewVerifier(nil, issuer, audience, time.Now), nil),
		func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	from := func(local string) *net.Dialer {
		return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	}
	// open opens a connection for good, and reports whether it is served.
	open := func() error {
		conn, err := from("127.0.0.1").DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = conn.Close() })
		framer := http2.NewFramer(conn, conn)
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = framer.WriteSettings()
		_, err = framer.ReadFrame()
		return err
	}
	for range share {
		if err := open(); err != nil {
			t.Fatal(err)
		}
	}
	if open() == nil {
		t.Error("a connection beyond the share is served")
	}
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return from("127.0.0.2").DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Errorf("another address is not served: %v", err)
	}
}

// TestMaxStreams checks that one connection has room for all calls that a gateway may have in progress, and for its
// health checks, so that a service which is only slow does not seem to hang.
func TestMaxStreams(t *testing.T) {
	const gatewayCalls = 8192
	conn, err := newTestEnv(t).listener.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	framer := http2.NewFramer(conn, conn)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = framer.WriteSettings()
	frame, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", frame)
	}
	if streams, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || streams <= gatewayCalls {
		t.Errorf("a connection may have %d streams, not over %d", streams, gatewayCalls)
	}
}
