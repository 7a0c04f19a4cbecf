package grpcx_test

import (
	"net"
	"testing"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// TestConnections floods the port of a service from one address, and calls it from another.
func TestConnections(t *testing.T) {
	const flood, most = 300, 256
	h := newHouse(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.serve(t, listener)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	open := 0
	for range flood {
		conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if n, _ := conn.Read(make([]byte, 1)); n > 0 { // The server begins with its settings, unless it closes.
			open++
		}
	}
	if open > most || open == 0 {
		t.Errorf("%d of %d connections from one address are open, not %d at most", open, flood, most)
	}
	conn, err := grpcx.Dial(listener.Addr().String(), asGateway)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := gatehousev1.NewUserServiceClient(conn).CreateUser(t.Context(), newUser()); err != nil {
		t.Errorf("a service at another address: %v", err)
	}
}
