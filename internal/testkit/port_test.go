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

// occupy takes a port until the test ends.
func occupy(t *testing.T, address string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
}
