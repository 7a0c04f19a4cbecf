package e2e

import (
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestTheOrderOfStartsDoesNotMatter starts everything before what it needs: each service waits, and all is ready once the
// last is there. One that is told to stop while it waits does so, without a fault.
func TestTheOrderOfStartsDoesNotMatter(t *testing.T) {
	t.Parallel()
	servers := startServers(t)
	servers.mariadb.Kill()
	servers.redis.Kill()
	h := &house{}
	store, cache, http, native := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	h.start(t, "gateway", servers.gateway, "--http", http, "--grpc", native, "--cache-address", cache, "--store-address", store,
		"--drain-delay", "0s")
	h.start(t, "cache", servers.cache, "--listen", cache, "--store-address", store)
	h.start(t, "store", servers.store, append([]string{"--listen", store}, cheapHashes...)...)
	h.start(t, "store", servers.store, "--listen", freeAddress(t)) // Nobody waits for this one.
	waiting := h.processes[len(h.processes)-1]
	testkit.Eventually(t, waiting.Wrote("the store waits for it"))
	if code, err := waiting.Stop(); err != nil || code != 0 {
		t.Errorf("a store that waits ended with %d, %v:\n%s", code, err, waiting.Tail())
	}
	h.processes = h.processes[:len(h.processes)-1]
	if err := servers.redis.Start(); err != nil {
		t.Fatal(err)
	}
	if err := servers.mariadb.Start(); err != nil {
		t.Fatal(err)
	}
	h.connect(t, http, native)
	signUp(t, h, "ada@example.com")
	if _, err := readMe(t, h, logIn(t, h, "ada@example.com")); err != nil {
		t.Error(err)
	}
	h.stop(t)
}
