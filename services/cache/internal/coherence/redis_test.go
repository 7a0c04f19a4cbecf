//go:build servers

package coherence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/redisbackend"
)

// openRedis returns a backend on a real Redis, and a client to look behind it.
func openRedis(t *testing.T, server *testkit.Redis) (Backend, *redis.Client) {
	t.Helper()
	location, err := redisbackend.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	b := redisbackend.New(location, "", cacheKey(), minrank.New(minrank.MaxKeys), func(context.Context, string) {})
	b.EnterEpoch(epoch)
	client := server.Client()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		_ = client.Close()
	})
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return b, client
}

// age moves the expiry of every key forward: the clock of a Redis cannot be set.
func age(t *testing.T, client *redis.Client, by time.Duration) {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		left, err := client.PTTL(t.Context(), key).Result()
		if err != nil || left < 0 {
			t.Fatalf("key %s expires in %s, error %v", key, left, err)
		}
		if err := client.PExpire(t.Context(), key, left-by).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// redisKey returns the key in Redis of an entry.
func redisKey(t *testing.T, client *redis.Client, key string) string {
	t.Helper()
	identity := epoch + "\n"
	for _, wanted := range [][2]string{{"server", "run_id:"}, {"replication", "master_replid:"}} {
		info, err := client.Info(t.Context(), wanted[0]).Result()
		if err != nil {
			t.Fatal(err)
		}
		_, value, _ := strings.Cut(info, wanted[1])
		identity += value[:40] + "\n"
	}
	return fmt.Sprintf("gatehouse:%.8x:%s", sha256.Sum256([]byte(identity)), key)
}

// newest is what is under the one key of a Redis that is in another epoch than the rest.
func newest(t *testing.T, client *redis.Client) string {
	t.Helper()
	ours, _, _ := strings.Cut(redisKey(t, client, "key"), "key")
	for _, key := range client.Keys(t.Context(), "*:key").Val() {
		if !strings.HasPrefix(key, ours) {
			return client.Get(t.Context(), key).Val()
		}
	}
	return ""
}

func TestRedis(t *testing.T) {
	t.Parallel()
	t.Run("conformance", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		conformance(t, func(t *testing.T) (Backend, func(time.Duration)) {
			b, client := openRedis(t, server)
			return b, func(after time.Duration) { age(t, client, after) }
		})
	})
	// What a Redis holds under our keys may have come from anywhere.
	t.Run("reredisKeyOfs_values_of_other_types", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		for name, poison := range map[string]func(context.Context, *redis.Client, string) error{
			"a list": func(ctx context.Context, c *redis.Client, key string) error { return c.RPush(ctx, key, "a").Err() },
			"a hash": func(ctx context.Context, c *redis.Client, key string) error { return c.HSet(ctx, key, "a", "b").Err() },
			"a stream": func(ctx context.Context, c *redis.Client, key string) error {
				return c.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"a", "b"}}).Err()
			},
			"an empty string": func(ctx context.Context, c *redis.Client, key string) error {
				return c.Set(ctx, key, "", 0).Err()
			},
			"a cut-off rank": func(ctx context.Context, c *redis.Client, key string) error {
				return c.Set(ctx, key, strings.Repeat("\xff", entry.RankLength-1), 0).Err()
			},
		} {
			t.Run(name, func(t *testing.T) {
				b, client := openRedis(t, server)
				if err := poison(t.Context(), client, redisKey(t, client, "key")); err != nil {
					t.Fatal(err)
				}
				if got, err := get(t.Context(), b, "key"); err != nil || len(got) >= entry.RankLength {
					t.Errorf("get: %q, error %v", got, err)
				}
				if err := b.Remove(t.Context(), "key", entryOf(1, "a")); err != nil {
					t.Errorf("remove: %v", err)
				}
				set(t, b, "key", entryOf(1, "a"))
				wantEntry(t, b, "key", entryOf(1, "a"))
				if got := client.Get(t.Context(), redisKey(t, client, "key")).Val(); !strings.HasPrefix(got, string(entryOf(1, "a"))) {
					t.Errorf("the poison was put in another redisKeyOf: there is %q", got)
				}
			})
		}
	})
	// Whatever somebody writes there, it is a miss, and is reredisKeyOfd.
	t.Run("ignores_and_reredisKeyOfs_forged_values", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		stranger := func(t *testing.T, epoch string, key []byte) Backend {
			t.Helper()
			location, err := redisbackend.ParseURL(server.URL())
			if err != nil {
				t.Fatal(err)
			}
			b := redisbackend.New(location, "", key, minrank.New(minrank.MaxKeys), func(context.Context, string) {})
			t.Cleanup(func() { _ = b.Close() })
			b.EnterEpoch(epoch)
			return b
		}
		const old, present, highest = 2, 4, 1<<53 - 2
		for name, forge := range map[string]func(t *testing.T, c *redis.Client, redisKeyOf string) string{
			"cut off": func(t *testing.T, c *redis.Client, redisKeyOf string) string {
				t.Helper()
				whole := c.Get(t.Context(), redisKeyOf).Val()
				return whole[:len(whole)-1]
			},
			"another rank, of the future": func(t *testing.T, c *redis.Client, redisKeyOf string) string {
				t.Helper()
				return string(entryOf(highest, "")[:8]) + c.Get(t.Context(), redisKeyOf).Val()[8:]
			},
			"of another key": func(t *testing.T, c *redis.Client, redisKeyOf string) string {
				t.Helper()
				return c.Get(t.Context(), strings.TrimSuffix(redisKeyOf, "key")+"other").Val()
			},
			"of another epoch": func(t *testing.T, c *redis.Client, _ string) string {
				t.Helper()
				set(t, stranger(t, "another", cacheKey()), "key", entryOf(highest, "b"))
				return newest(t, c)
			},
			"sealed by another secret": func(t *testing.T, c *redis.Client, redisKeyOf string) string {
				t.Helper()
				c.Del(t.Context(), redisKeyOf)
				set(t, stranger(t, epoch, bytes.Repeat([]byte("x"), keySize)), "key", entryOf(highest, "b"))
				return c.Get(t.Context(), redisKeyOf).Val()
			},
			"without a seal": func(*testing.T, *redis.Client, string) string { return string(entryOf(highest, "b")) },
		} {
			t.Run(name, func(t *testing.T) {
				b, client := openRedis(t, server)
				set(t, b, "other", entryOf(highest, "b"))
				set(t, b, "key", entryOf(old, "a"))
				redisKeyOf := redisKey(t, client, "key")
				forged := forge(t, client, redisKeyOf)
				if err := client.Set(t.Context(), redisKeyOf, forged, time.Minute).Err(); err != nil || forged == "" {
					t.Fatalf("forged %q, %v", forged, err)
				}
				wantNothing(t, b)
				fill := entry.Write{Key: "key", Entry: entryOf(present, "c"), TTL: time.Minute}
				if err := b.Set(t.Context(), newLease(t, b), fill); err != nil {
					t.Fatal(err)
				}
				wantEntry(t, b, "key", entryOf(present, "c"))
				set(t, b, "key", entryOf(old, "a"))
				wantEntry(t, b, "key", entryOf(present, "c"))
			})
		}
	})
	// A Redis that comes back knows nothing of what it was told before, or too much.
	t.Run("entries_and_leases_end_with_the_instance", func(t *testing.T) {
		t.Parallel()
		for name, saved := range map[string]bool{"back empty": false, "back with old data": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				server := testkit.StartRedis(t)
				b, client := openRedis(t, server)
				set(t, b, "key", entryOf(2, "old"))
				read, asked := newLease(t, b), b.Lease()
				if saved {
					if err := client.Save(t.Context()).Err(); err != nil {
						t.Fatal(err)
					}
				}
				server.Kill()
				if err := server.Start(); err != nil {
					t.Fatal(err)
				}
				if size := client.DBSize(t.Context()).Val(); (size > 0) != saved {
					t.Fatalf("the Redis came back with %d keys", size)
				}
				fill := entry.Write{Key: "key", Entry: entryOf(2, "old"), TTL: time.Minute}
				for _, lease := range []entry.Lease{read, asked} { // Before anything has shown that the run is another.
					if err := b.Set(t.Context(), lease, fill); err != nil {
						t.Fatal(err)
					}
				}
				wantNothing(t, b)
				set(t, b, "key", entryOf(1, "new"))
				wantEntry(t, b, "key", entryOf(1, "new"))
				if err := b.Set(t.Context(), b.Lease(), fill); err != nil {
					t.Fatal(err)
				}
				wantEntry(t, b, "key", entryOf(2, "old"))
			})
		}
	})
	// However often a Redis could not be reached: as soon as it can be, it is. Other services could accept it already.
	t.Run("is_reached_as_soon_as_it_is_back", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		b, _ := openRedis(t, server)
		for round := range uint64(3) {
			server.Kill()
			for range 100 { // more than there are connections
				if err := b.Set(t.Context(), "", unconditional("key", entryOf(1, "a"))); err == nil {
					t.Fatal("set in a Redis that is down gave no error")
				}
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			set(t, b, "key", entryOf(round, "b"))
			wantEntry(t, b, "key", entryOf(round, "b"))
		}
	})
	t.Run("is_not_used_without_an_identity", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		b, client := openRedis(t, server)
		if err := client.Do(t.Context(), "ACL", "SETUSER", "default", "-info").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t.Context(), b, "key"); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("get: error %v, want that there is no permission", err)
		}
		if lease := b.Lease(); lease != "" {
			t.Errorf("there is a lease %q", lease)
		}
	})
	// A script that the server has forgotten is sent again.
	t.Run("sends_a_flushed_script_again", func(t *testing.T) {
		t.Parallel()
		b, client := openRedis(t, testkit.StartRedis(t))
		set(t, b, "key", entryOf(1, "a"))
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		set(t, b, "key", entryOf(2, "b"))
		wantEntry(t, b, "key", entryOf(2, "b"))
	})
	// A Redis that is there but does not answer is given up by itself, long before a long caller gives up.
	t.Run("times_out_if_it_hangs", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		b, _ := openRedis(t, server)
		set(t, b, "key", entryOf(1, "a"))
		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		long, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := get(long, b, "key"); err == nil {
			t.Error("get from a Redis that hangs gave no error")
		}
		if err := b.Set(long, "", unconditional("key", entryOf(2, "a"))); err == nil {
			t.Error("set in a Redis that hangs gave no error")
		}
		if long.Err() != nil {
			t.Error("it was the caller that gave up")
		}
	})
	t.Run("authenticates_with_the_password", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		client := server.Client()
		t.Cleanup(func() { _ = client.Close() })
		if err := client.ConfigSet(t.Context(), "requirepass", "hush").Err(); err != nil {
			t.Fatal(err)
		}
		location, err := redisbackend.ParseURL("redis://" + server.Addr() + "/3")
		if err != nil {
			t.Fatal(err)
		}
		for password, admitted := range map[string]bool{"hush": true, "wrong": false, "": false} {
			b := redisbackend.New(location, password, cacheKey(), minrank.New(minrank.MaxKeys), func(context.Context, string) {})
			b.EnterEpoch(epoch)
			err := b.Set(t.Context(), "", unconditional("key", entryOf(1, "a")))
			if (err == nil) != admitted {
				t.Errorf("with password %q: %v", password, err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	// The first replica of a Redis changes what the keys name. Services that were connected before and after it must
	// agree.
	t.Run("all_services_use_the_same_keys_after_the_first_replica", func(t *testing.T) {
		t.Parallel()
		server, replica := testkit.StartRedis(t), testkit.StartRedis(t)
		before, _ := openRedis(t, server)
		set(t, before, "key", entryOf(1, "a"))
		host, port, err := net.SplitHostPort(server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		client := replica.Client()
		defer client.Close()
		if err := client.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, func() error {
			if info := client.Info(t.Context(), "replication").Val(); !strings.Contains(info, "master_link_status:up") {
				return errors.New("the replica is not there yet")
			}
			return nil
		})
		location, err := redisbackend.ParseURL(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		after := redisbackend.New(location, "", cacheKey(), minrank.New(minrank.MaxKeys), func(context.Context, string) {})
		defer after.Close()
		after.EnterEpoch(epoch)
		set(t, after, "key", entryOf(2, "of the later one"))
		set(t, before, "key", entryOf(3, "of the earlier one"))
		wantEntry(t, after, "key", entryOf(3, "of the earlier one"))
		wantEntry(t, before, "key", entryOf(3, "of the earlier one"))
	})
}
