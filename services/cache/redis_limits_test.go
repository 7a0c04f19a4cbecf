//go:build servers

package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

// leastRights are what the README says the Redis user of a cache service needs.
const leastRights = "resetkeys ~gatehouse:* resetchannels -@all " +
	"+info +ping +mget +get +set +del +eval +evalsha +scan +unlink"

// setUser makes a user of an ACL, or changes it.
func setUser(t *testing.T, client *redis.Client, name string, rules string) {
	t.Helper()
	arguments := []any{"ACL", "SETUSER", name}
	for rule := range strings.FieldsSeq(rules) {
		arguments = append(arguments, rule)
	}
	if err := client.Do(t.Context(), arguments...).Err(); err != nil {
		t.Fatal(err)
	}
}

func (r *replica) backendHealth(t *testing.T) healthpb.HealthCheckResponse_ServingStatus {
	t.Helper()
	response, err := healthpb.NewHealthClient(r.conn).Check(context.WithoutCancel(t.Context()),
		&healthpb.HealthCheckRequest{Service: cache.BackendHealth})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetStatus()
}

func (r *replica) awaitBackend(t *testing.T, wanted healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if got := r.backendHealth(t); got != wanted {
			return errors.New("the backend is " + got.String())
		}
		return nil
	})
}

func (r *replica) awaitLog(t *testing.T, text string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if log := r.logged.String(); !strings.Contains(log, text) {
			return errors.New("the log has no such text: " + log)
		}
		return nil
	})
}

// TestRedisUser uses a user of an ACL with the least rights.
func TestRedisUser(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	setUser(t, client, "cache", "on >secret "+leastRights)
	cfg := config(server.URL())
	cfg.RedisUser, cfg.RedisPassword = "cache", "secret"
	env := newTestEnv(t, cfg)
	id := env.signUp(t, "ada@example.com")
	env.readUntilCached(t, id)
	env.awaitBackend(t, healthpb.HealthCheckResponse_SERVING)
	denied, err := client.Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil || len(denied) != 0 {
		t.Errorf("the server has refused %v, %v", denied, err)
	}
	keys, err := client.Keys(t.Context(), "gatehouse:*").Result()
	if err != nil || len(keys) == 0 {
		t.Errorf("the cache has put %v there, %v", keys, err)
	}

	// Of another password nothing comes but that all is asked of the store.
	cfg.RedisPassword = "not-the-secret"
	other := env.newReplicaOf(t, cfg)
	other.awaitLog(t, "WRONGPASS")
	if log := other.logged.String(); strings.Contains(log, cfg.RedisPassword) {
		t.Errorf("the log has the password: %s", log)
	}
	other.awaitBackend(t, healthpb.HealthCheckResponse_NOT_SERVING)
	env.read(t, id)
}

// TestRedisRefuses makes Redis reject commands in all ways. The store serves reads meanwhile, and the health of the
// backend is NOT_SERVING.
func TestRedisRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ harm, mend string }{
		"memory":      {"CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"},
		"replicas":    {"CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"},
		"replica":     {"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"},
		"rights":      {"ACL SETUSER default -eval -evalsha", "ACL SETUSER default +@all"},
		"all rights":  {"ACL SETUSER default -mget -eval -evalsha", "ACL SETUSER default +@all"},
		"other keys":  {"ACL SETUSER default resetkeys ~other:*", "ACL SETUSER default ~*"},
		"connections": {"CONFIG SET maxclients 1", "CONFIG SET maxclients 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, _, client := newRedisEnv(t)
			id := env.signUp(t, "ada@example.com")
			env.readUntilCached(t, id)
			conn := client.Conn()
			t.Cleanup(func() { _ = conn.Close() })
			do := func(command string) {
				t.Helper()
				var words []any
				for word := range strings.FieldsSeq(command) {
					words = append(words, word)
				}
				if err := conn.Do(t.Context(), words...).Err(); err != nil {
					t.Fatalf("%s: %v", command, err)
				}
			}
			do(test.harm)
			if name == "connections" {
				do("CLIENT KILL TYPE normal SKIPME yes")
			}
			env.read(t, env.signUp(t, "grace@example.com")) // A change is made, and a bystander is served.
			env.read(t, id)
			env.awaitBackend(t, healthpb.HealthCheckResponse_NOT_SERVING)
			do(test.mend)
			env.awaitBackend(t, healthpb.HealthCheckResponse_SERVING)
			env.readUntilCached(t, id)
		})
	}
}

func TestRedisEvictionWarning(t *testing.T) {
	t.Parallel()
	const warning = "Redis does not evict"
	for _, test := range []struct {
		limit, policy string
		warnings      int
	}{
		{"0", "noeviction", 1},
		{"0", "allkeys-lru", 1},
		{"100mb", "noeviction", 1},
		{"100mb", "allkeys-lru", 0},
		{"100mb", "volatile-ttl", 0},
	} {
		t.Run(test.limit+"_"+test.policy, func(t *testing.T) {
			t.Parallel()
			server := testkit.StartRedis(t)
			client := server.Client()
			t.Cleanup(func() { _ = client.Close() })
			for name, value := range map[string]string{"maxmemory": test.limit, "maxmemory-policy": test.policy} {
				if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
					t.Fatal(err)
				}
			}
			env := newTestEnv(t, config(server.URL()))
			id := env.signUp(t, "ada@example.com")
			env.readUntilCached(t, id)
			log := env.logged.String()
			if got := strings.Count(log, warning); got != test.warnings {
				t.Errorf("there are %d warnings: %s", got, log)
			}
			if test.warnings > 0 && !strings.Contains(log, `"maxmemory_policy":"`+test.policy+`"`) {
				t.Errorf("the warning does not name the policy: %s", log)
			}
		})
	}
}

// TestRedisVersion stores something before a Redis that makes it say that it is of an older version.
func TestRedisVersion(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go older(client, server.Addr())
		}
	}()
	env := newTestEnv(t, config(server.URL()))
	id := env.signUp(t, "ada@example.com")
	old := env.newReplicaOf(t, config("redis://"+listener.Addr().String()))
	old.awaitLog(t, "and 6.0 or later is needed")
	old.awaitBackend(t, healthpb.HealthCheckResponse_NOT_SERVING)
	env.read(t, id)
}

// older passes a connection on, and alters the version in the answers.
func older(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() { _, _ = io.Copy(server, client) }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		answer := bytes.Replace(buffer[:n], []byte("redis_version:7"), []byte("redis_version:5"), 1)
		answer = bytes.Replace(answer, []byte("redis_version:8"), []byte("redis_version:5"), 1)
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

// newReplicaOf adds a cache service that need not follow the feed.
func (env *testEnv) newReplicaOf(t *testing.T, cfg cache.Config) *replica {
	t.Helper()
	return env.startReplica(t, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.New(cfg, store, log)
	})
}
