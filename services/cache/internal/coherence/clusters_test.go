//go:build servers && clusters

package coherence

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/redisbackend"
)

// openAt returns a backend on the Redis that the URL names, which is empty.
func openAt(t *testing.T, url string) Backend {
	t.Helper()
	location, err := redisbackend.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	b := redisbackend.New(location, "", cacheKey(), minrank.New(minrank.MaxKeys), func(context.Context, string) {})
	b.EnterEpoch(epoch)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestRedisClusterConformance(t *testing.T) {
	cluster := testkit.StartRedisCluster(t)
	conformance(t, func(t *testing.T) (Backend, func(time.Duration)) {
		flushAll(t, cluster.Nodes)
		return openAt(t, cluster.URL()), func(after time.Duration) { ageAll(t, cluster.Nodes, after) }
	})
}

func TestRedisSentinelConformance(t *testing.T) {
	watched := testkit.StartWatchedRedis(t)
	conformance(t, func(t *testing.T) (Backend, func(time.Duration)) {
		flushAll(t, watched.Servers)
		return openAt(t, watched.URL()), func(after time.Duration) { ageAll(t, watched.Servers, after) }
	})
}

// onMasters does something with those of the servers that are masters.
func onMasters(t *testing.T, servers []*testkit.Redis, do func(client *redis.Client)) {
	t.Helper()
	for _, server := range servers {
		client := server.Client()
		defer client.Close()
		role, err := client.Do(t.Context(), "ROLE").Slice()
		if err != nil {
			t.Fatal(err)
		}
		if role[0] == "master" {
			do(client)
		}
	}
}

func flushAll(t *testing.T, servers []*testkit.Redis) {
	t.Helper()
	onMasters(t, servers, func(client *redis.Client) {
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	})
}

func ageAll(t *testing.T, servers []*testkit.Redis, by time.Duration) {
	t.Helper()
	onMasters(t, servers, func(client *redis.Client) { age(t, client, by) })
}

// A flush reaches every master, and removes nothing of others.
func TestClusterFlush(t *testing.T) {
	cluster := testkit.StartRedisCluster(t)
	b := openAt(t, cluster.URL())
	client := cluster.Client()
	defer client.Close()
	keys := make([]string, 50)
	for i := range keys {
		keys[i] = userKey(strconv.Itoa(i))
		set(t, b, keys[i], entryOf(1, "a"))
		if err := client.Set(t.Context(), "others:"+keys[i], "a", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		wantNoEntry(t, b, key)
		if err := client.Get(t.Context(), "others:"+key).Err(); err != nil {
			t.Errorf("what is not ours: %v", err)
		}
	}
}

// A fail-over hides all entries and invalidates all leases: the promoted master may lack acknowledged writes. The same
// holds when the former master is promoted again, which still has its entries.
func TestClusterFailOver(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (url string, promote func()){
		"cluster": func(t *testing.T) (string, func()) {
			cluster := testkit.StartRedisCluster(t)
			return cluster.URL(), func() { cluster.Promote(t, "{key}") }
		},
		"sentinel": func(t *testing.T) (string, func()) {
			watched := testkit.StartWatchedRedis(t)
			return watched.URL(), func() { watched.Promote(t) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, promote := start(t)
			// A service that writes, one that is idle during fail-overs, and one that starts after them.
			one, idle := openAt(t, url), openAt(t, url)
			set(t, one, "key", entryOf(5, "of the first life"))
			wantEntry(t, idle, "key", entryOf(5, "of the first life"))
			read, asked := newLease(t, one), one.Lease()

			promote()
			wantNothing(t, one)
			set(t, one, "key", entryOf(1, "of the second"))
			fill(t, one, read, entryOf(9, "x"))
			fill(t, one, asked, entryOf(9, "x"))
			wantEntry(t, one, "key", entryOf(1, "of the second"))

			promote()
			late := openAt(t, url)
			set(t, late, "key", entryOf(2, "of the third"))
			wantEntry(t, idle, "key", entryOf(2, "of the third"))
			fill(t, idle, asked, entryOf(9, "x"))
			wantEntry(t, one, "key", entryOf(2, "of the third"))
			wantEntry(t, late, "key", entryOf(2, "of the third"))
		})
	}
}

// fill stores something under "key" if the lease stands.
func fill(t *testing.T, b Backend, under entry.Lease, held []byte) {
	t.Helper()
	if err := b.Set(t.Context(), under, entry.Write{Key: "key", Entry: held, TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
}

// A write to a killed master finds the promoted one as soon as that is possible.
func TestClusterMasterKilled(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (url string, master *testkit.Redis, whole func() error){
		"cluster": func(t *testing.T) (string, *testkit.Redis, func() error) {
			cluster := testkit.StartRedisCluster(t)
			return cluster.URL(), cluster.MasterOf(t, "{key}"), cluster.Whole
		},
		"sentinel": func(t *testing.T) (string, *testkit.Redis, func() error) {
			watched := testkit.StartWatchedRedis(t)
			master, _ := watched.Master(t)
			return watched.URL(), master, watched.Whole
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, master, whole := start(t)
			aware, unaware := openAt(t, url), openAt(t, url)
			set(t, aware, "key", entryOf(1, "a"))
			set(t, unaware, "key", entryOf(2, "a"))
			master.Kill()
			testkit.Eventually(t, func() error {
				return aware.Set(t.Context(), "", unconditional("key", entryOf(1, "b")))
			})
			set(t, unaware, "key", entryOf(3, "c"))
			wantEntry(t, aware, "key", entryOf(3, "c"))
			if err := master.Start(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, whole)
			wantEntry(t, aware, "key", entryOf(3, "c"))
			set(t, unaware, "key", entryOf(4, "d"))
			wantEntry(t, aware, "key", entryOf(4, "d"))
		})
	}
}
