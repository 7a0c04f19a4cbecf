//go:build servers

package cache_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// virtualAddress is the one address of a Redis that fails over: it leads to one server or to the other.
type virtualAddress struct {
	net.Listener

	mu    sync.Mutex
	to    string
	conns []net.Conn
}

func newVirtualAddress(t *testing.T, to string) *virtualAddress {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &virtualAddress{Listener: listener, to: to}
	var copying sync.WaitGroup
	copying.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far := v.dial(near)
			if far == nil {
				near.Close()
				continue
			}
			copying.Go(func() { io.Copy(near, far); near.Close(); far.Close() })
			copying.Go(func() { io.Copy(far, near); near.Close(); far.Close() })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		v.leadTo("")
		copying.Wait()
	})
	return v
}

func (v *virtualAddress) dial(near net.Conn) net.Conn {
	v.mu.Lock()
	defer v.mu.Unlock()
	far, err := net.Dial("tcp", v.to)
	if err != nil {
		return nil
	}
	v.conns = append(v.conns, near, far)
	return far
}

// leadTo cuts all connections; new ones lead to this server.
func (v *virtualAddress) leadTo(server string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.to = server
	for _, conn := range v.conns {
		conn.Close()
	}
	v.conns = nil
}

// follow makes a server the replica of another, and waits until it has everything of it.
func follow(t *testing.T, replica, master *testkit.Redis) {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replicate(t, replica, host, port)
	client, leader := replica.Client(), master.Client()
	defer client.Close()
	defer leader.Close()
	testkit.Eventually(t, func() error {
		has, wanted := client.DBSize(t.Context()).Val(), leader.DBSize(t.Context()).Val()
		if info := client.Info(t.Context(), "replication").Val(); !strings.Contains(info, "master_link_status:up") || has != wanted {
			return errors.New("the replica is not there yet")
		}
		return nil
	})
}

func promote(t *testing.T, server *testkit.Redis) {
	t.Helper()
	replicate(t, server, "NO", "ONE")
}

func replicate(t *testing.T, server *testkit.Redis, host, port string) {
	t.Helper()
	client := server.Client()
	defer client.Close()
	if err := client.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestRedisFailOver(t *testing.T) {
	t.Parallel()
	// The first server has kept what it knew, and is asked again.
	t.Run("there_and_back_restores_no_session", func(t *testing.T) {
		one, two := testkit.StartRedis(t), testkit.StartRedis(t)
		follow(t, two, one)
		address := newVirtualAddress(t, one.Addr())
		fix := newTestEnvOf(t, config("redis://"+address.Addr().String()+"/0"), 2).newFixture(t)

		promote(t, two)
		follow(t, one, two)
		address.leadTo(two.Addr())
		for _, service := range fix.replicas {
			service.wantIn(t, fix.store, fix.phone.GetAccessToken())
		}
		if err := fix.logOut(t.Context(), fix.phone.GetAccessToken(), authn.Current); err != nil {
			t.Fatal(err)
		}
		fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)

		promote(t, one)
		follow(t, two, one)
		address.leadTo(one.Addr())
		for i, service := range fix.replicas {
			for range 3 {
				if _, err := service.me(t.Context(), fix.phone.GetAccessToken()); err == nil {
					t.Errorf("cache %d lets a session in that has ended", i)
				}
			}
		}
	})
}
