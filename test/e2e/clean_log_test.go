package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestCleanLog: where everything goes as it should, from the start to Ctrl-C, the log has no warning and no error. The
// services may be started in any order, and Ctrl-C reaches all of them at once.
func TestCleanLog(t *testing.T) {
	t.Parallel()
	t.Run("up", func(t *testing.T) {
		t.Parallel()
		h := startUp(t, t.TempDir(), cheapHashes...)
		checkCleanLog(t, h)
	})
	for name, order := range map[string][]string{
		"store_first": {"store", "cache", "gateway"},
		"store_last":  {"gateway", "cache", "store"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := startServers(t)
			evict(t, servers.redis)
			store, cache, http, native := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
			h := &house{}
			start := map[string]func(){
				"store": func() {
					h.start(t, "store", servers.store, append([]string{"--listen", store}, cheapHashes...)...)
				},
				"cache": func() { h.start(t, "cache", servers.cache, "--listen", cache, "--store-address", store) },
				"gateway": func() {
					h.start(t, "gateway", servers.gateway, "--http", http, "--grpc", native, "--cache-address", cache,
						"--store-address", store, "--drain-delay", "2s")
				},
			}
			for _, service := range order {
				start[service]()
				testkit.Eventually(t, h.processes[len(h.processes)-1].Wrote("serving gRPC"))
			}
			h.connect(t, http, native)
			checkCleanLog(t, h)
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
func checkCleanLog(t *testing.T, h *house) {
	t.Helper()
	readAgainAndAgain(t, h, 10)
	_ = h.conn.Close()
	for _, process := range h.processes {
		if err := process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	for _, process := range h.processes {
		if code, err := process.Wait(time.Minute); err != nil || code != 0 {
			t.Errorf("%s ended with %d, %v", process.Args[0], code, err)
		}
		records := 0
		for line := range strings.Lines(process.Output()) {
			var record struct{ Level string }
			if json.Unmarshal([]byte(line), &record) != nil {
				continue // The banner of up.
			}
			records++
			if record.Level != "INFO" && record.Level != "DEBUG" {
				t.Errorf("%s: %s", process.Args[0], line)
			}
		}
		if records == 0 {
			t.Errorf("%s has logged nothing:\n%s", process.Args[0], process.Output())
		}
	}
}
