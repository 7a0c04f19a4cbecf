//go:build servers

package redisbackend

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// TestExpiry makes an entry in Redis persistent, as an attacker with write access can.
func TestExpiry(t *testing.T) {
	server := testkit.StartRedis(t)
	location, err := ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	forged := 0
	b := New(location, "", bytes.Repeat([]byte("c"), 32), minrank.New(10), func(context.Context, string) { forged++ })
	defer b.Close()
	now := time.Now()
	b.shared.now = func() time.Time { return now }
	b.EnterEpoch("epoch")
	if _, _, err := b.Get(t.Context(), "key"); err != nil { // So that there is a lease.
		t.Fatal(err)
	}
	put := func(rank byte) {
		t.Helper()
		write := entry.Write{Key: "key", Entry: []byte{0, 0, 0, 0, 0, 0, 0, rank, 'a'}, TTL: time.Minute}
		if err := b.Set(t.Context(), b.Lease(), write); err != nil {
			t.Fatal(err)
		}
	}
	wantRank := func(rank byte) {
		t.Helper()
		got, _, err := b.Get(t.Context(), "key")
		if err != nil || rank == 0 && got[0] != nil || rank > 0 && (got[0] == nil || got[0][7] != rank) {
			t.Errorf("the entry is %q, %v; want rank %d", got, err, rank)
		}
	}
	put(9)
	wantRank(9)
	client := server.Client()
	defer client.Close()
	for _, key := range client.Keys(t.Context(), "*").Val() {
		if err := client.Persist(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute + clockSkew + time.Second)
	wantRank(0)
	if forged != 1 {
		t.Errorf("it was reported %d times", forged)
	}
	put(2) // Replaces it, although its rank is lower.
	wantRank(2)
}
