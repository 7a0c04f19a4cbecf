package e2e

import (
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestStartOrder starts everything before what it needs: each service waits, and all is ready once the
// last is there. One that is told to stop while it waits does so, without a fault.
func TestStartOrder(t *testing.T) {
	t.Parallel()
	infra := cluster.NewPrivateInfra(t, binary)
	infra.MariaDB.Kill()
	infra.Redis.Kill()
	store := cluster.NewService(t, binary, "store", infra.StoreEnv(infra.DatabaseURL()), append(cheapHashes, logAll...)...)
	waiting := cluster.NewService(t, binary, "store", infra.StoreEnv(infra.DatabaseURL()), logAll...)
	cache := cluster.NewService(t, binary, "cache", infra.CacheEnv(infra.Redis.URL()),
		append(logAll, "--store-address", store.Address)...)
	gateway := cluster.NewService(t, binary, "gateway", infra.GatewayEnv(), append(logAll,
		"--cache-address", cache.Address, "--store-address", store.Address, "--drain-delay", "0s")...)
	for _, service := range []*cluster.Service{gateway, cache, store, waiting} {
		if err := service.Start(); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, waiting.Wrote("database is unreachable, will retry"))
	if code, err := waiting.Stop(); err != nil || code != 0 {
		t.Errorf("a store that waits ended with %d, %v:\n%s", code, err, waiting.Tail())
	}
	if err := infra.Redis.Start(); err != nil {
		t.Fatal(err)
	}
	if err := infra.MariaDB.Start(); err != nil {
		t.Fatal(err)
	}
	cluster.AwaitReady(t, gateway, cache, store)
	env := &testEnv{rest: gateway.REST, conn: gateway.Dial(t), processes: []*cluster.Service{gateway, cache, store}}
	signUp(t, env, "ada@example.com")
	if _, err := readMe(t, env, logIn(t, env, "ada@example.com")); err != nil {
		t.Error(err)
	}
	env.stop(t)
}
