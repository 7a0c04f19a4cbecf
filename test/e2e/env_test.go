package e2e

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// testEnv is a running Gatehouse and how it is reached: `up`, or one replica of each service of a cluster.
type testEnv struct {
	rest string // base URL
	conn *grpc.ClientConn

	processes []*cluster.Service // in the order in which they were started
	database  string             // URL, for commands
	infra     *cluster.Infra     // nil on embedded parts
	redis     *testkit.Redis     // nil on embedded parts
	mariadb   *testkit.MariaDB   // nil on embedded parts
}

// setups are the ways to run Gatehouse that must answer alike. The arguments are for the process that hashes passwords.
var setups = map[string]func(*testing.T, ...string) *testEnv{
	"one process":     func(t *testing.T, args ...string) *testEnv { return startUp(t, t.TempDir(), args...) },
	"three processes": startThree,
}

// cheapHashes stores a test that makes many hashes, under the race detector and beside others, within its deadlines.
var cheapHashes = []string{"--argon2-memory", "7168", "--argon2-iterations", "1"}

// logAll makes a service log each call.
var logAll = []string{"--log-level", "debug"}

// startUp runs `gatehouse up` on a data folder.
func startUp(t *testing.T, data string, args ...string) *testEnv {
	t.Helper()
	return newTestEnv(t, cluster.StartUp(t, binary, data, append(args, logAll...)...), 0)
}

// startThree runs the three services on a new database and a new Redis.
func startThree(t *testing.T, storeArgs ...string) *testEnv {
	t.Helper()
	return startReplicas(t, cluster.NewInfra(t, binary), 1, storeArgs...)[0]
}

// startReplicas runs so many stores, caches and gateways, of which each uses the one with its number.
func startReplicas(t *testing.T, infra *cluster.Infra, replicas int, storeArgs ...string) []*testEnv {
	t.Helper()
	started := cluster.Start(t, infra, cluster.Config{
		Program: binary, Replicas: replicas, StoreArgs: append(storeArgs, logAll...), CacheArgs: logAll,
		GatewayArgs: append([]string{"--drain-delay", "0s"}, logAll...),
	})
	envs := make([]*testEnv, 0, replicas)
	for i := range replicas {
		envs = append(envs, newTestEnv(t, started, i))
	}
	return envs
}

// newTestEnv returns the environment that a replica of a cluster is.
func newTestEnv(t *testing.T, started *cluster.Cluster, replica int) *testEnv {
	t.Helper()
	gateway := started.Gateways[replica]
	env := &testEnv{rest: gateway.REST, conn: gateway.Dial(t), database: started.DatabaseURL(), infra: started.Infra}
	if env.infra != nil {
		env.redis, env.mariadb = env.infra.Redis, env.infra.MariaDB
		env.processes = append(env.processes, started.Stores[replica], started.Caches[replica])
	}
	env.processes = append(env.processes, gateway)
	return env
}

// stop ends all processes with SIGTERM, the last one first. The test fails if one does not end with the exit code 0.
func (env *testEnv) stop(t *testing.T) {
	t.Helper()
	cluster.StopAll(t, env.processes)
}

// callContext bounds one call of a test.
func callContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
