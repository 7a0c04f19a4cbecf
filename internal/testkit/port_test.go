package testkit_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func TestFreePort(t *testing.T) {
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if testkit.Listening(address)() == nil {
		t.Fatal("somebody listens on a free port")
	}
	occupy(t, address)
	if err := testkit.Listening(address)(); err != nil {
		t.Fatal(err)
	}
}

// TestFreePortReserves covers ports on which nothing listens yet, or nothing for a while.
func TestFreePortReserves(t *testing.T) {
	const ports = 500 // Of 12,768: by chance alone, about ten would be returned twice.
	seen := make(map[int]bool, ports)
	for range ports {
		port, err := testkit.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d was returned twice", port)
		}
		seen[port] = true
	}
}

// occupy reserves a port until the test ends.
func occupy(t *testing.T, address string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
}
