package cache

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/redisbackend"
)

// openRedis gives a backend on a real Redis, and a client to look behind it.
func openRedis(t *testing.T, server *testkit.Redis) (backend, *redis.Client) {
	t.Helper()
	location, err := redisbackend.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	b := redisbackend.New(location, "")
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

func TestRedisConformance(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	conformance(t, func(t *testing.T) (backend, func(time.Duration)) {
		b, client := openRedis(t, server)
		return b, func(after time.Duration) { age(t, client, after) }
	})
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

// What a Redis holds under our keys may have come from anywhere.
func TestRedisReplacesWhatItCannotHavePut(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	for name, poison := range map[string]func(context.Context, *redis.Client) error{
		"a list": func(ctx context.Context, c *redis.Client) error { return c.RPush(ctx, "key", "a").Err() },
		"a hash": func(ctx context.Context, c *redis.Client) error { return c.HSet(ctx, "key", "a", "b").Err() },
		"a stream": func(ctx context.Context, c *redis.Client) error {
			return c.XAdd(ctx, &redis.XAddArgs{Stream: "key", Values: []string{"a", "b"}}).Err()
		},
		"an empty string": func(ctx context.Context, c *redis.Client) error { return c.Set(ctx, "key", "", 0).Err() },
		"a cut-off version": func(ctx context.Context, c *redis.Client) error {
			return c.Set(ctx, "key", strings.Repeat("\xff", versionLength-1), 0).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, client := openRedis(t, server)
			if err := poison(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			if got, _, err := b.Get(t.Context(), "key"); err != nil || len(got) >= versionLength {
				t.Errorf("get: %q, error %v", got, err)
			}
			if err := b.Remove(t.Context(), "key", entryOf(1, "a")); err != nil {
				t.Errorf("remove: %v", err)
			}
			set(t, b, "key", entryOf(1, "a"))
			wantEntry(t, b, "key", entryOf(1, "a"))
		})
	}
}

// A script that the server has forgotten is sent again.
func TestRedisSurvivesAScriptFlush(t *testing.T) {
	t.Parallel()
	b, client := openRedis(t, testkit.StartRedis(t))
	set(t, b, "key", entryOf(1, "a"))
	if err := client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	set(t, b, "key", entryOf(2, "b"))
	wantEntry(t, b, "key", entryOf(2, "b"))
}

// A Redis that is there but does not answer is given up by itself, long before a patient caller gives up.
func TestRedisThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	b, _ := openRedis(t, server)
	set(t, b, "key", entryOf(1, "a"))
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	patient, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, _, err := b.Get(patient, "key"); err == nil {
		t.Error("get from a Redis that hangs gave no error")
	}
	if err := b.SetIfNewer(patient, "key", entryOf(2, "a"), time.Minute); err == nil {
		t.Error("set in a Redis that hangs gave no error")
	}
	if patient.Err() != nil {
		t.Error("it was the caller who gave up")
	}
}

func TestRedisAsksForItsPassword(t *testing.T) {
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
		b := redisbackend.New(location, password)
		err := b.SetIfNewer(t.Context(), "key", entryOf(1, "a"), time.Minute)
		if (err == nil) != admitted {
			t.Errorf("with password %q: %v", password, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
