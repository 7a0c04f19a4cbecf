package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// house is a running Gatehouse.
type house struct {
	rest string // base URL
	conn *grpc.ClientConn

	processes []*testkit.Process // in the order in which they were started
	database  string             // URL, for commands
	redis     *testkit.Redis     // nil on embedded parts
	mariadb   *testkit.MariaDB   // nil on embedded parts
}

// houses are the ways to run Gatehouse that must answer alike. The arguments are for whoever hashes passwords.
var houses = map[string]func(*testing.T, ...string) *house{
	"one process":     func(t *testing.T, args ...string) *house { return startUp(t, t.TempDir(), args...) },
	"three processes": startThree,
}

// cheapHashes keeps a test that makes many hashes, under the race detector and beside others, within its deadlines.
var cheapHashes = []string{"--argon2-memory", "7168", "--argon2-iterations", "1"}

// startUp runs `gatehouse up` on a data folder.
func startUp(t *testing.T, data string, args ...string) *house {
	t.Helper()
	h := &house{database: "sqlite:" + filepath.Join(data, "gatehouse.db")}
	http, native := freeAddress(t), freeAddress(t)
	h.start(t, "up", []string{}, append([]string{"--data", data, "--http", http, "--grpc", native}, args...)...)
	h.connect(t, http, native)
	return h
}

// startThree runs the three services on a new MariaDB and a new Redis.
func startThree(t *testing.T, storeArgs ...string) *house {
	t.Helper()
	return startReplicas(t, 1, storeArgs...)[0]
}

// startReplicas runs so many stores, caches and gateways on one new MariaDB and one new Redis: a house each, which share
// their data.
func startReplicas(t *testing.T, replicas int, storeArgs ...string) []*house {
	t.Helper()
	servers := startServers(t)
	houses := make([]*house, 0, replicas)
	for range replicas {
		h := &house{database: servers.mariadb.URL("gatehouse"), redis: servers.redis, mariadb: servers.mariadb}
		store, cache, http, native := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
		h.start(t, "store", servers.store, append([]string{"--listen", store}, storeArgs...)...)
		h.start(t, "cache", servers.cache, "--listen", cache, "--store-address", store)
		h.start(t, "gateway", servers.gateway, "--http", http, "--grpc", native, "--cache-address", cache, "--store-address", store,
			"--drain-delay", "0s")
		h.connect(t, http, native)
		houses = append(houses, h)
	}
	return houses
}

// servers are what stores and caches need, and the settings by which they find it.
type servers struct {
	redis                 *testkit.Redis
	mariadb               *testkit.MariaDB
	store, cache, gateway []string
}

// startServers runs a new MariaDB with a migrated database and a new Redis, until the test ends.
func startServers(t *testing.T) servers {
	t.Helper()
	redis, mariadb := testkit.StartRedis(t), testkit.StartMariaDB(t)
	if err := mariadb.CreateDatabase("gatehouse"); err != nil {
		t.Fatal(err)
	}
	database := "GATEHOUSE_DATABASE_URL=" + mariadb.URL("gatehouse")
	migrate(t, database)
	masterKey := "GATEHOUSE_MASTER_KEY=" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	cacheKey := "GATEHOUSE_CACHE_KEY=" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("c", 32)))
	serviceToken := "GATEHOUSE_SERVICE_TOKEN=" + rand.Text() + rand.Text()
	return servers{
		redis: redis, mariadb: mariadb, store: []string{database, masterKey, serviceToken},
		cache:   []string{"GATEHOUSE_REDIS_URL=" + redis.URL(), cacheKey, serviceToken},
		gateway: []string{serviceToken},
	}
}

func migrate(t *testing.T, database string) {
	t.Helper()
	migrate := &testkit.Process{
		Path: binary, Args: []string{"migrate"}, Env: []string{database}, Log: filepath.Join(t.TempDir(), "migrate"),
	}
	if err := migrate.Start(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if code, err := migrate.Wait(time.Minute); err != nil || code != 0 {
		t.Fatalf("migrate ended with %d, %v\n%s", code, err, migrate.Output())
	}
}

// start runs a command of gatehouse until the test ends.
func (h *house) start(t *testing.T, command string, env []string, args ...string) {
	t.Helper()
	process := &testkit.Process{
		Path: binary, Args: append([]string{command, "--log-level", "debug"}, args...), Env: env,
		Log: filepath.Join(t.TempDir(), command),
	}
	if err := process.Start(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	h.processes = append(h.processes, process)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", command, process.Tail())
		}
		if strings.Contains(process.Output(), "DATA RACE") {
			t.Errorf("the race detector reports, in %s:\n%s", command, process.Output())
		}
		process.Kill()
	})
}

// connect waits until the house is ready.
func (h *house) connect(t *testing.T, rest, native string) {
	t.Helper()
	h.rest = "http://" + rest
	testkit.Eventually(t, func() error {
		for _, process := range h.processes {
			if process.Ended() {
				t.Fatalf("%s has ended:\n%s", process.Args[0], process.Tail())
			}
		}
		return checkReady(h.rest)
	})
	h.dial(t, native)
}

// checkReady reports an error unless the gateway at this base URL is ready.
func checkReady(base string) error {
	response, err := http.Get(base + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// dial makes the connection for native gRPC.
func (h *house) dial(t *testing.T, native string) {
	t.Helper()
	conn, err := grpc.NewClient(native, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	h.conn = conn
}

// stop ends all processes with SIGTERM, the last one first, and wants exit code 0 of each.
func (h *house) stop(t *testing.T) {
	t.Helper()
	for _, process := range slices.Backward(h.processes) {
		if code, err := process.Stop(); err != nil || code != 0 {
			t.Errorf("%s ended with %d, %v\n%s", process.Args[0], code, err, process.Tail())
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// callContext bounds one call of a test.
func callContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
