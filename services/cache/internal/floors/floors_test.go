package floors_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/floors"
)

func TestTable(t *testing.T) {
	t.Run("believes what shows all changes that it does not know", func(t *testing.T) {
		table := floors.New(10)
		table.Begin(5)
		for position, want := range map[uint64]bool{4: false, 5: true, 6: true, floors.Timeless: true} {
			if got := table.Believes("key", 2, position); got != want {
				t.Errorf("position %d: %v", position, got)
			}
		}
	})
	t.Run("believes nothing below the floor of its key, whatever its position", func(t *testing.T) {
		table := floors.New(10)
		table.Raise("key", 7, 3)
		table.Raise("key", 5, 4)
		for rank, want := range map[uint64]bool{6: false, 7: true, 8: true} {
			for _, position := range []uint64{0, 9, floors.Timeless} {
				if got := table.Believes("key", rank, position); got != want {
					t.Errorf("rank %d at %d: %v", rank, position, got)
				}
			}
		}
		if !table.Believes("another", 1, 0) {
			t.Error("another key has the floor, too")
		}
	})
	t.Run("forgets the oldest change, and with it what does not show it", func(t *testing.T) {
		const keys = 100
		table := floors.New(keys)
		key := func(i uint64) string { return fmt.Sprintf("key%d", i) }
		for i := range uint64(10 * keys) {
			table.Raise(key(i), 7, i+1)
			table.Reach(i + 1)
			for _, old := range []uint64{0, i / 2, i} {
				if table.Believes(key(old), 6, old) { // What was put before its key has changed.
					t.Fatalf("after change %d an entry from before change %d is believed", i, old)
				}
			}
		}
		if !table.Believes("another", 1, 10*keys) || !table.Believes(key(3), 8, 10*keys) || !table.Believes("another", 1, 9*keys) {
			t.Error("what is new is not believed")
		}
		if table.Len() > keys {
			t.Errorf("%d keys are remembered", table.Len())
		}
	})
	t.Run("remembers a key that changes often no more often than it has room", func(t *testing.T) {
		table := floors.New(4)
		for i := range uint64(100) {
			table.Raise("key", i, i)
		}
		if table.Len() != 1 || table.Believes("key", 98, floors.Timeless) || !table.Believes("key", 99, floors.Timeless) {
			t.Errorf("%d keys are remembered, or the wrong floor", table.Len())
		}
	})
	t.Run("begins anew", func(t *testing.T) {
		table := floors.New(4)
		table.Raise("key", 7, 9)
		table.Reach(9)
		table.Begin(2)
		if table.Position() != 2 || table.Len() != 0 || !table.Believes("key", 1, 2) {
			t.Error("it knows what was before")
		}
		table.Reach(1)
		if table.Position() != 2 {
			t.Error("it goes back")
		}
	})
}

func BenchmarkRaise(b *testing.B) {
	table := floors.New(floors.MaxKeys)
	keys := make([]string, 4*floors.MaxKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("session:{01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21}:%036d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Raise(keys[i%len(keys)], 7, uint64(i))
	}
}

func BenchmarkBelieves(b *testing.B) {
	table := floors.New(floors.MaxKeys)
	for i := range uint64(floors.MaxKeys) {
		table.Raise(fmt.Sprintf("session:{01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21}:%036d", i), 7, i)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			table.Believes("session:{01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21}:01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21", 8, 1)
		}
	})
}
