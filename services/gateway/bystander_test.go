package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// Addresses of this machine that clients of tests connect from.
const (
	attacker  = "127.0.0.1"
	bystander = "127.0.0.2"
)

func dialerFrom(local string) *net.Dialer {
	return &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(local), 0))}
}

// fromAttacker is a dialer of gRPC.
func fromAttacker(ctx context.Context, address string) (net.Conn, error) {
	return dialerFrom(attacker).DialContext(ctx, "tcp", address)
}

// dialFrom connects to an address from an address of this machine, until the test ends.
func dialFrom(t testing.TB, local, address string) net.Conn {
	t.Helper()
	conn, err := dialerFrom(local).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// grpcFrom returns a native gRPC client that connects from an address of this machine.
func (env *testEnv) grpcFrom(t testing.TB, local string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(env.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialerFrom(local).DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// httpFrom returns an HTTP/1.1 client that connects from an address of this machine.
func httpFrom(t testing.TB, local string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: dialerFrom(local).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// wantBystanderServed fails the test unless a client at the bystander's address is served over both transports, by the
// services behind the gateway as well.
func (env *testEnv) wantBystanderServed(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn := env.grpcFrom(t, bystander)
	defer func() { _ = conn.Close() }()
	if _, err := gatehousev1.NewKeyServiceClient(conn).ListKeys(ctx, &gatehousev1.ListKeysRequest{}); err != nil {
		t.Errorf("the bystander's call over native gRPC: %v", err)
	}
	client := httpFrom(t, bystander)
	defer client.CloseIdleConnections()
	response, err := client.Get(env.base + "/.well-known/jwks.json")
	if err != nil {
		t.Errorf("the bystander's call over REST: %v", err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Errorf("the bystander's call over REST: %s: %s", response.Status, text)
	}
}
