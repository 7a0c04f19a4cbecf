package shares_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

func TestKeyOf(t *testing.T) {
	for _, test := range []struct{ address, want string }{
		{"192.0.2.1", "192.0.2.1/32"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"2001:db8:0:1::7", "2001:db8:0:1::/64"},
		{"2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"},
		{"2001:db8:0:2::7", "2001:db8:0:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		if got := shares.KeyOf(netip.MustParseAddr(test.address)).String(); got != test.want {
			t.Errorf("key of %s is %s, want %s", test.address, got, test.want)
		}
	}
	if got := shares.KeyOf(netip.Addr{}); got != (shares.Key{}) || got.String() != "unknown" {
		t.Errorf("key of no address is %s", got)
	}
}

func key(address string) shares.Key { return shares.KeyOf(netip.MustParseAddr(address)) }

func TestPool(t *testing.T) {
	t.Run("a_client_gets_no_more_than_its_share_and_others_get_theirs", func(t *testing.T) {
		pool := shares.New(10, 4)
		attacker, bystander := key("127.0.0.1"), key("127.0.0.2")
		for range 4 {
			mustAcquire(t, pool, attacker, 1)
		}
		if _, ok := pool.Acquire(attacker, 1); ok {
			t.Error("a client exceeds its share")
		}
		mustAcquire(t, pool, bystander, 4)
		mustAcquire(t, pool, attacker, 0)
	})
	t.Run("all_clients_together_get_no_more_than_the_total", func(t *testing.T) {
		pool := shares.New(10, 4)
		mustAcquire(t, pool, key("192.0.2.1"), 4)
		mustAcquire(t, pool, key("192.0.2.2"), 4)
		if _, ok := pool.Acquire(key("192.0.2.3"), 3); ok {
			t.Error("clients exceed the total")
		}
		mustAcquire(t, pool, key("192.0.2.3"), 2)
	})
	t.Run("addresses_of_one_IPv6_network_are_one_client", func(t *testing.T) {
		pool := shares.New(10, 4)
		mustAcquire(t, pool, key("2001:db8::1"), 4)
		if _, ok := pool.Acquire(key("2001:db8::2"), 1); ok {
			t.Error("the second address has a share of its own")
		}
		mustAcquire(t, pool, key("2001:db8:0:1::1"), 4)
	})
	t.Run("what_is_released_can_be_acquired_again_once", func(t *testing.T) {
		pool := shares.New(10, 4)
		release := mustAcquire(t, pool, key("192.0.2.1"), 3)
		mustAcquire(t, pool, key("192.0.2.1"), 1)
		release()
		release()
		mustAcquire(t, pool, key("192.0.2.1"), 3)
		if _, ok := pool.Acquire(key("192.0.2.1"), 1); ok {
			t.Error("a second release gave back units")
		}
	})
	t.Run("a_client_that_holds_nothing_is_forgotten", func(t *testing.T) {
		pool := shares.New(10, 4)
		releases := []func(){mustAcquire(t, pool, key("192.0.2.1"), 2), mustAcquire(t, pool, key("192.0.2.1"), 2)}
		_, _ = pool.Acquire(key("192.0.2.2"), 5)
		for _, release := range releases {
			release()
		}
		wantUsage(t, pool, 0, 0)
	})
	t.Run("a_number_that_would_overflow_is_refused", func(t *testing.T) {
		pool := shares.New(10, 4)
		mustAcquire(t, pool, key("192.0.2.1"), 1)
		if _, ok := pool.Acquire(key("192.0.2.1"), 1<<63-1); ok {
			t.Error("acquired")
		}
	})
	t.Run("a_release_of_what_is_not_held_panics", func(t *testing.T) {
		pool := shares.New(10, 4)
		mustAcquire(t, pool, key("192.0.2.1"), 1)
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
			wantUsage(t, pool, 1, 1)
		}()
		pool.Release(key("192.0.2.1"), 2)
	})
	t.Run("concurrent_clients_stay_within_their_shares", testConcurrency)
}

func testConcurrency(t *testing.T) {
	pool := shares.New(6, 4)
	var group sync.WaitGroup
	for _, client := range []shares.Key{key("192.0.2.1"), key("192.0.2.2")} {
		for range 8 {
			group.Go(func() {
				for range 1000 {
					if release, ok := pool.Acquire(client, 1); ok {
						if held, _ := pool.Usage(); held > 6 {
							t.Error("the total is exceeded")
						}
						release()
					}
				}
			})
		}
	}
	group.Wait()
	wantUsage(t, pool, 0, 0)
}

func mustAcquire(t *testing.T, pool *shares.Pool, client shares.Key, n int64) (release func()) {
	t.Helper()
	release, ok := pool.Acquire(client, n)
	if !ok {
		t.Fatalf("%s cannot acquire %d", client, n)
	}
	return release
}

func wantUsage(t *testing.T, pool *shares.Pool, held int64, clients int) {
	t.Helper()
	if gotHeld, gotClients := pool.Usage(); gotHeld != held || gotClients != clients {
		t.Errorf("held is %d by %d clients, want %d by %d", gotHeld, gotClients, held, clients)
	}
}

// TestFairPool checks that many clients that take all they can leave some to one that comes later.
func TestFairPool(t *testing.T) {
	for _, attackers := range []int{1, 10, 100, 500} {
		pool := shares.NewFair(8192, 512)
		for i := range attackers {
			attacker := key(fmt.Sprintf("10.0.%d.%d", i/256, i%256))
			for pool.TryAcquire(attacker, 1) {
				continue
			}
		}
		held, _ := pool.Usage()
		if attackers == 1 && held != 512 {
			t.Errorf("one client gets %d units, want its share", held)
		}
		for round := range 3 { // When others come back for more, there is still some.
			bystander := key(fmt.Sprintf("127.0.0.%d", 2+round))
			if !pool.TryAcquire(bystander, 1) {
				t.Errorf("%d clients left nothing of %d units: %d are held", attackers, 8192, held)
			}
			for i := range attackers {
				_ = pool.TryAcquire(key(fmt.Sprintf("10.0.%d.%d", i/256, i%256)), 1)
			}
		}
	}
}
