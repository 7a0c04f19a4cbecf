package minrank_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

func TestTable(t *testing.T) {
	t.Run("an_entry_with_all_unknown_changes_is_current", func(t *testing.T) {
		table := minrank.New(10)
		table.Reset(5)
		for position, want := range map[uint64]bool{4: false, 5: true, 6: true, minrank.Timeless: true} {
			if got := table.IsCurrent("key", 2, position); got != want {
				t.Errorf("position %d: %v", position, got)
			}
		}
	})
	t.Run("an_entry_below_the_minimum_of_its_key_is_outdated_at_any_position", func(t *testing.T) {
		table := minrank.New(10)
		table.Raise("key", 7, 3)
		table.Raise("key", 5, 4)
		for rank, want := range map[uint64]bool{6: false, 7: true, 8: true} {
			for _, position := range []uint64{0, 9, minrank.Timeless} {
				if got := table.IsCurrent("key", rank, position); got != want {
					t.Errorf("rank %d at %d: %v", rank, position, got)
				}
			}
		}
		if !table.IsCurrent("another", 1, 0) {
			t.Error("another key has the same minimum")
		}
	})
	t.Run("evicts_the_oldest_change_and_makes_entries_without_it_outdated", func(t *testing.T) {
		const keys = 100
		table := minrank.New(keys)
		key := func(i uint64) string { return fmt.Sprintf("key%d", i) }
		for i := range uint64(10 * keys) {
			table.Raise(key(i), 7, i+1)
			table.Advance(i + 1)
			for _, old := range []uint64{0, i / 2, i} {
				if table.IsCurrent(key(old), 6, old) { // Stored before its key was changed.
					t.Fatalf("after change %d an entry from before change %d is current", i, old)
				}
			}
		}
		if !table.IsCurrent("another", 1, 10*keys) || !table.IsCurrent(key(3), 8, 10*keys) || !table.IsCurrent("another", 1, 9*keys) {
			t.Error("a new entry is outdated")
		}
		if table.Len() > keys {
			t.Errorf("the table has %d keys", table.Len())
		}
	})
	t.Run("a_key_that_changes_often_is_one_key", func(t *testing.T) {
		table := minrank.New(4)
		for i := range uint64(100) {
			table.Raise("key", i, i)
		}
		if table.Len() != 1 || table.IsCurrent("key", 98, minrank.Timeless) || !table.IsCurrent("key", 99, minrank.Timeless) {
			t.Errorf("the table has %d keys, or the wrong minimum", table.Len())
		}
	})
	t.Run("reset_removes_all_changes", func(t *testing.T) {
		table := minrank.New(4)
		table.Raise("key", 7, 9)
		table.Advance(9)
		table.Reset(2)
		if table.Position() != 2 || table.Len() != 0 || !table.IsCurrent("key", 1, 2) {
			t.Error("it has an earlier change")
		}
		table.Advance(1)
		if table.Position() != 2 {
			t.Error("the position goes back")
		}
	})
}

func BenchmarkRaise(b *testing.B) {
	table := minrank.New(minrank.MaxKeys)
	keys := make([]string, 4*minrank.MaxKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("session:{01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21}:%036d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Raise(keys[i%len(keys)], 7, uint64(i))
	}
}

func BenchmarkIsCurrent(b *testing.B) {
	table := minrank.New(minrank.MaxKeys)
	for i := range uint64(minrank.MaxKeys) {
		table.Raise(fmt.Sprintf("session:{01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21}:%036d", i), 7, i)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			table.IsCurrent("session:{01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21}:01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21", 8, 1)
		}
	})
}
