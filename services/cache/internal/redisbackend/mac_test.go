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

func TestSeal(t *testing.T) {
	secret, now := mac("secret"), time.UnixMilli(1_700_000_000_000)
	held := []byte("12345678 an entry")
	sealed := secret.append("key", held, stamp{position: 7, expires: now})
	t.Run("opens until the entry expires, for clocks that are 10 s apart", func(t *testing.T) {
		for after, want := range map[time.Duration]bool{
			-time.Hour: true, 0: true, clockSkew: true, clockSkew + time.Millisecond: false, time.Hour: false,
		} {
			got, position := secret.verify("key", sealed, now.Add(after))
			if opened := bytes.Equal(got, held) && position == 7; opened != want || got != nil != want {
				t.Errorf("%v after its end: %q at %d", after, got, position)
			}
		}
	})
	t.Run("breaks when any byte is changed", func(t *testing.T) {
		for i := range sealed {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			if got, _ := secret.verify("key", changed, now); got != nil {
				t.Errorf("byte %d can be changed", i)
			}
			if got, _ := secret.verify("key", sealed[:i], now); got != nil {
				t.Errorf("it can be cut off after %d bytes", i)
			}
		}
		if got, _ := secret.verify("another", sealed, now); got != nil {
			t.Error("it can be copied to another key")
		}
	})
}

// TestExpiry leaves an entry in Redis beyond its end, as anybody with write access can.
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
