package cluster

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// Infra is what services need: a migrated database, a Redis, and secrets.
type Infra struct {
	MariaDB  *testkit.MariaDB
	Database string // name
	Redis    *testkit.Redis

	program     string
	redisFolder string
	// Settings, as an environment holds them.
	masterKey, cacheKey, serviceToken string
}

// shared is the MariaDB of all tests of a package that do not disturb it.
var shared testkit.SharedMariaDB

// Main runs the tests of a package, then stops what they share. It returns the exit code.
func Main(m *testing.M) int {
	defer func() { _ = shared.Stop() }()
	return m.Run()
}

// NewInfra returns a new database on the MariaDB that the tests of a package share, which a test must not stop, and a
// Redis of its own. Its package's TestMain calls Main. The program is gatehouse.
func NewInfra(tb testing.TB, program string) *Infra {
	tb.Helper()
	url := shared.NewDatabase(tb)
	return newInfra(tb, program, shared.Server(tb), url[strings.LastIndexByte(url, '/')+1:])
}

// NewPrivateInfra returns a MariaDB and a Redis that a test may stop and kill.
func NewPrivateInfra(tb testing.TB, program string) *Infra {
	tb.Helper()
	return NewInfraOn(tb, program, testkit.StartMariaDB(tb))
}

// NewInfraOn returns a new database on a server, and a Redis.
func NewInfraOn(tb testing.TB, program string, server *testkit.MariaDB) *Infra {
	tb.Helper()
	const database = "gatehouse"
	if err := server.CreateDatabase(database); err != nil {
		tb.Fatal(err)
	}
	return newInfra(tb, program, server, database)
}

func newInfra(tb testing.TB, program string, server *testkit.MariaDB, database string) *Infra {
	tb.Helper()
	secret := func() string { return base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32]) }
	i := &Infra{
		MariaDB: server, Database: database, program: program, redisFolder: tb.TempDir(),
		masterKey: "GATEHOUSE_MASTER_KEY=" + secret(), cacheKey: "GATEHOUSE_CACHE_KEY=" + secret(),
		serviceToken: "GATEHOUSE_SERVICE_TOKEN=" + rand.Text() + rand.Text(),
	}
	i.Command(tb, "migrate")
	var err error
	if i.Redis, err = testkit.NewRedis(i.redisFolder); err == nil {
		err = i.Redis.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(i.Redis.Kill)
	return i
}

// Command runs a command of gatehouse at the database. The test fails if the command does.
func (i *Infra) Command(tb testing.TB, args ...string) {
	tb.Helper()
	process := &testkit.Process{
		Path: i.program, Args: args, Env: []string{DatabaseSetting(i.DatabaseURL())},
		Log: filepath.Join(tb.TempDir(), "command"),
	}
	if err := process.Start(func() error { return nil }); err != nil {
		tb.Fatal(err)
	}
	if code, err := process.Wait(time.Minute); err != nil || code != 0 {
		tb.Fatalf("%v ended with %d, %v\n%s", args, code, err, process.Output())
	}
}

// DatabaseURL returns the URL of the database.
func (i *Infra) DatabaseURL() string { return i.MariaDB.URL(i.Database) }

// ForgetDump makes the next start of Redis an empty one.
func (i *Infra) ForgetDump() error {
	err := os.Remove(filepath.Join(i.redisFolder, "dump.rdb"))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// StoreEnv returns the settings of a store that reaches the database at a URL.
func (i *Infra) StoreEnv(databaseURL string) []string {
	return []string{DatabaseSetting(databaseURL), i.masterKey, i.serviceToken}
}

// CacheEnv returns the settings of a cache that reaches Redis at a URL.
func (i *Infra) CacheEnv(redisURL string) []string {
	return []string{"GATEHOUSE_REDIS_URL=" + redisURL, i.cacheKey, i.serviceToken}
}

// GatewayEnv returns the settings of a gateway.
func (i *Infra) GatewayEnv() []string { return []string{i.serviceToken} }

// DatabaseSetting returns the setting of a database's URL, as an environment holds it.
func DatabaseSetting(url string) string { return "GATEHOUSE_DATABASE_URL=" + url }
