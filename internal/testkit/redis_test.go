//go:build servers

package testkit_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestRedisRestart checks that a Redis that is killed starts again, empty, on its port.
func TestRedisRestart(t *testing.T) {
	server := testkit.StartRedis(t)
	address := server.Addr()
	client := newClient(t, server)
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if code, err := server.Stop(); err != nil || code != 0 {
		t.Fatalf("Stop = %d, %v", code, err)
	}
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a stopped server answers")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if server.Addr() != address {
		t.Errorf("Addr = %s, was %s", server.Addr(), address)
	}
	if err := client.Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("the key that was set before gives %v", err)
	}
}

// TestRedisFreeze checks that a frozen Redis does not answer, and does once it is thawed.
func TestRedisFreeze(t *testing.T) {
	server := testkit.StartRedis(t)
	client := newClient(t, server)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := client.Ping(ctx).Err(); !isTimeout(err) {
		t.Errorf("the ping of a frozen server gives %v", err)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the ping of a thawed server gives %v", err)
	}
}

// TestRedisPortTaken checks that a Redis uses another port if its own is taken at the first start.
func TestRedisPortTaken(t *testing.T) {
	server, err := testkit.NewRedis(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	taken := server.Addr()
	occupy(t, taken)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	if server.Addr() == taken {
		t.Fatal("the server says that it is on a port that is not its own")
	}
	if err := newClient(t, server).Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestRedisPortLost checks that a Redis reports an error if its port is taken at a later start.
func TestRedisPortLost(t *testing.T) {
	server := testkit.StartRedis(t)
	server.Kill()
	occupy(t, server.Addr())
	if err := server.Start(); err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Fatalf("Start = %v", err)
	}
}

func newClient(t *testing.T, server *testkit.Redis) *redis.Client {
	t.Helper()
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
