//go:build servers

package cache_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// newEnv returns an environment of several cache services that share a backend.
func newEnv(t *testing.T, replicas int) *testEnv {
	t.Helper()
	env, _, _ := newRedisEnvOf(t, replicas)
	return env
}

// newRedisEnv returns an environment with a Redis of its own, and a client of that.
func newRedisEnv(t *testing.T) (*testEnv, *testkit.Redis, *redis.Client) {
	t.Helper()
	return newRedisEnvOf(t, 1)
}

// newRedisEnvOf returns an environment of several cache services with one Redis, and a client of that.
func newRedisEnvOf(t *testing.T, replicas int) (*testEnv, *testkit.Redis, *redis.Client) {
	t.Helper()
	server := testkit.StartRedis(t)
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	return newTestEnvOf(t, config(server.URL()), replicas), server, client
}

// restart kills a Redis and starts it again: empty, or with what was saved before.
func restart(t *testing.T, server *testkit.Redis) {
	t.Helper()
	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

// redisKey returns the key in Redis of an entry.
func redisKey(t *testing.T, client *redis.Client, key string) string {
	t.Helper()
	found := client.Keys(t.Context(), "*:"+key).Val()
	if len(found) != 1 {
		t.Fatalf("%s is kept in %q", key, found)
	}
	return found[0]
}
