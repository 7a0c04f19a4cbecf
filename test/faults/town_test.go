//go:build long

package faults

import (
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// server is a process that can be killed, frozen, and started again at the same address.
type server interface {
	Start() error
	Kill()
	Freeze() error
	Thaw() error
}

// service is a gatehouse process.
type service struct {
	testkit.Process

	address string // which it listens on
}

// Start starts the process. It does not wait: a store does not listen before it has found its database, which may be
// away.
func (s *service) Start() error { return s.Process.Start(func() error { return nil }) }

// restartAs kills the process and starts it with another program and environment.
func (s *service) restartAs(program string, env []string) error {
	s.Kill()
	s.Path, s.Env = program, env
	return s.Start()
}

// town is Gatehouse as it runs in earnest: several of each service, one MariaDB, one Redis, and a link of ours between
// any two that talk. Gateway i talks to cache i and to store i; cache i to store i+1.
type town struct {
	gateways, caches, stores []*service
	native, rest             []string // addresses of the gateways
	redis                    *testkit.Redis
	mariadb                  *testkit.MariaDB
	redisFolder              string
	links                    map[string][]*link // by the kind of link, such as "cache→redis"
	open                     func(t *testing.T) *sql.DB
}

const database = "gatehouse"

// newLand makes a town with its servers, and no services yet, until the test ends.
func newLand(t *testing.T) (*town, secrets) {
	t.Helper()
	town := &town{mariadb: testkit.StartMariaDB(t), links: map[string][]*link{}}
	town.open = town.openMariaDB
	town.startRedis(t)
	if err := town.mariadb.CreateDatabase(database); err != nil {
		t.Fatal(err)
	}
	town.command(t, "migrate")
	key := func() string { return base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32]) }
	return town, secrets{
		serviceToken: "GATEHOUSE_SERVICE_TOKEN=" + rand.Text() + rand.Text(),
		masterKey:    "GATEHOUSE_MASTER_KEY=" + key(), cacheKey: "GATEHOUSE_CACHE_KEY=" + key(),
	}
}

// secrets are settings of the services, as their environment has them.
type secrets struct{ serviceToken, masterKey, cacheKey string }

// cheapHashes leave the machine to everything else. Workers change an account far more often than its owner would.
var cheapHashes = []string{
	"--argon2-memory", "7168", "--argon2-iterations", "1", "--own-changes-per-minute", "100000",
}

// newTown runs a town with so many of each service until the test ends. Its cache services are made of a program of
// their own.
func newTown(t *testing.T, replicas int, cacheProgram string) *town {
	t.Helper()
	town, secrets := newLand(t)
	for i := range replicas {
		toDatabase := town.link(t, "store→mariadb", i, strings.Trim(strings.TrimPrefix(town.mariadb.URL(""), "mysql://root@"), "/"))
		env := []string{secrets.serviceToken, secrets.masterKey, "GATEHOUSE_DATABASE_URL=mysql://root@" + toDatabase + "/" + database}
		town.stores = append(town.stores, start(t, binary, "store", i, env, cheapHashes...))
	}
	for i := range replicas {
		toRedis := town.link(t, "cache→redis", i, town.redis.Addr())
		toStore := town.link(t, "cache→store", i, town.stores[(i+1)%replicas].address)
		env := []string{secrets.serviceToken, secrets.cacheKey, "GATEHOUSE_REDIS_URL=redis://" + toRedis + "/0"}
		town.caches = append(town.caches, start(t, cacheProgram, "cache", i, env, "--store-address", toStore))
	}
	for i := range replicas {
		toCache := town.link(t, "gateway→cache", i, town.caches[i].address)
		toStore := town.link(t, "gateway→store", i, town.stores[i].address)
		http := freeAddress(t)
		gateway := start(t, binary, "gateway", i, []string{secrets.serviceToken}, "--http", http, "--cache-address", toCache, "--store-address", toStore)
		town.gateways = append(town.gateways, gateway)
		town.rest, town.native = append(town.rest, http), append(town.native, gateway.address)
	}
	town.awaitReady(t)
	return town
}

func (w *town) link(t *testing.T, kind string, i int, to string) string {
	t.Helper()
	made := newLink(t, fmt.Sprintf("%s %d", kind, i), to)
	w.links[kind] = append(w.links[kind], made)
	return made.address()
}

// startRedis runs a Redis whose folder is known: what was saved there is what it starts with.
func (w *town) startRedis(t *testing.T) {
	t.Helper()
	w.redisFolder = t.TempDir()
	redis, err := testkit.NewRedis(w.redisFolder)
	if err == nil {
		err = redis.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.Kill)
	w.redis = redis
}

// command runs a command of gatehouse at the database, past all links.
func (w *town) command(t *testing.T, args ...string) {
	t.Helper()
	process := &testkit.Process{
		Path: binary, Args: args, Env: []string{"GATEHOUSE_DATABASE_URL=" + w.mariadb.URL(database)},
		Log: filepath.Join(t.TempDir(), "command"),
	}
	if err := process.Start(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if code, err := process.Wait(time.Minute); err != nil || code != 0 {
		t.Fatalf("%v ended with %d, %v\n%s", args, code, err, process.Output())
	}
}

// start starts a service that listens on an address of its own, until the test ends.
func start(t *testing.T, program, command string, i int, env []string, args ...string) *service {
	t.Helper()
	listen := "--listen"
	if command == "gateway" || command == "up" {
		listen = "--grpc"
	}
	made := &service{address: freeAddress(t)}
	made.Process = testkit.Process{
		Path: program, Args: append([]string{command, listen, made.address}, args...), Env: env,
		Log: filepath.Join(t.TempDir(), fmt.Sprintf("%s%d", command, i)),
	}
	if err := made.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		made.Kill()
		if t.Failed() {
			t.Logf("%s %d:\n%s", command, i, made.Tail())
		}
	})
	return made
}

func (w *town) awaitReady(t *testing.T) {
	t.Helper()
	for _, address := range w.rest {
		testkit.Eventually(t, func() error {
			response, err := http.Get("http://" + address + "/readyz")
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("/readyz is %s", response.Status)
			}
			return nil
		})
	}
}

// openMariaDB connects to the database, past all links.
func (w *town) openMariaDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := w.mariadb.Open(database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// forgetDump makes the next start of Redis an empty one.
func (w *town) forgetDump() error {
	err := os.Remove(filepath.Join(w.redisFolder, "dump.rdb"))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
