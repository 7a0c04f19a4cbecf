package password

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestVerifyOutdated checks the limit of outdated hashes that are verified at once: more wait, in fair shares among clients,
// and calls with a hash of the current parameters are not delayed.
func TestVerifyOutdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher, err := New(t.Context(), Config{Params: Params{MemoryKiB: 7168, Iterations: 1, Parallelism: 1}})
		if err != nil {
			t.Fatal(err)
		}
		current, err := hasher.Hash(t.Context(), "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		const outdated = "$2b$04$vFg1dPzkGnLy.J7LdGb2U.eC3qmQX3zCzb5P/nTnEuzyRcKmIDZ2a"
		if _, err := hasher.Verify(t.Context(), outdated, "correct horse"); err != nil {
			t.Fatal(err)
		}
		queue := &testQueue{queue: hasher.outdated}
		queue.serviceTime = workTime
		ctx, cancel := context.WithCancel(t.Context())
		queue.sendMany(ctx, 2*queue.slots*maxQueuePerSlot, 1, "flood")
		if matches, err := hasher.Verify(t.Context(), current, "correct horse"); err != nil || !matches {
			t.Errorf("a current hash: %v, %v", matches, err)
		}
		wantOverloaded(t, <-queue.send(t.Context(), 1, "flood"))
		if _, err := hasher.Verify(t.Context(), outdated, "correct horse"); err != nil {
			t.Errorf("an outdated hash for another client: %v", err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := hasher.Verify(gone, outdated, "correct horse"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that is gone: %v", err)
		}
		cancel()
		queue.drain()
		if hasher.cores.running != 0 || len(hasher.cores.waiting) != 0 || len(hasher.outdated.waiting) != 0 {
			t.Error("a slot is not released")
		}
	})
}
