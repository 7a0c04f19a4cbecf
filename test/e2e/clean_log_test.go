package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestCleanLog checks that, where nothing fails from the start to Ctrl-C, the log has no warning and no error. The
// services may be started in any order, and Ctrl-C reaches all of them at once.
func TestCleanLog(t *testing.T) {
	t.Parallel()
	t.Run("up", func(t *testing.T) {
		t.Parallel()
		env := startUp(t, t.TempDir(), cheapHashes...)
		checkCleanLog(t, env)
	})
	for name, order := range map[string][]string{
		"store_first": {"store", "cache", "gateway"},
		"store_last":  {"gateway", "cache", "store"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			infra := cluster.NewInfra(t, binary)
			evict(t, infra.Redis)
			store := cluster.NewService(t, binary, "store", infra.StoreEnv(infra.DatabaseURL()), append(cheapHashes, logAll...)...)
			cache := cluster.NewService(t, binary, "cache", infra.CacheEnv(infra.Redis.URL()),
				append(logAll, "--store-address", store.Address)...)
			gateway := cluster.NewService(t, binary, "gateway", infra.GatewayEnv(), append(logAll,
				"--cache-address", cache.Address, "--store-address", store.Address, "--drain-delay", "2s")...)
			services := map[string]*cluster.Service{"store": store, "cache": cache, "gateway": gateway}
			for _, name := range order {
				if err := services[name].Start(); err != nil {
					t.Fatal(err)
				}
				testkit.Eventually(t, services[name].Wrote("serving gRPC"))
			}
			cluster.AwaitReady(t, gateway, store, cache)
			env := &testEnv{conn: gateway.Dial(t), processes: []*cluster.Service{store, cache, gateway}}
			checkCleanLog(t, env)
		})
	}
}

// evict configures a Redis as the README says: without it, cache services warn.
func evict(t *testing.T, server *testkit.Redis) {
	t.Helper()
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	for name, value := range map[string]string{"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"} {
		if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkCleanLog makes some calls, stops all processes at once by SIGINT, and looks at what they have logged.
func checkCleanLog(t *testing.T, env *testEnv) {
	t.Helper()
	readAgainAndAgain(t, env, 10)
	_ = env.conn.Close()
	for _, process := range env.processes {
		if err := process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	for _, process := range env.processes {
		if code, err := process.Wait(time.Minute); err != nil || code != 0 {
			t.Errorf("%s ended with %d, %v", process.Args[0], code, err)
		}
		records := 0
		for line := range strings.Lines(process.Output()) {
			var record struct{ Level, Route string }
			if json.Unmarshal([]byte(line), &record) != nil {
				continue // The banner of up.
			}
			records++
			if record.Route == "/readyz" {
				continue // AwaitReady may be early: until the store has started, the gateway is not ready.
			}
			if record.Level != "INFO" && record.Level != "DEBUG" {
				t.Errorf("%s: %s", process.Args[0], line)
			}
		}
		if records == 0 {
			t.Errorf("%s has logged nothing:\n%s", process.Args[0], process.Output())
		}
	}
}
