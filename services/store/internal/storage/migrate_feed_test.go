package storage

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/migrate"
)

// feedHeadVersion is the migration that moved the sequence of the last change to feed_head.
const feedHeadVersion = 13

// formerDatabase is a database of the version before feedHeadVersion, without a Storage.
type formerDatabase struct {
	*Storage

	config Config
}

// newFormerDatabase migrates an empty database up to the version before feedHeadVersion.
func newFormerDatabase(t *testing.T, config Config) formerDatabase {
	t.Helper()
	driver, err := config.dialect()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := driver.OpenToMigrate(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	former := formerDatabase{&Storage{dialect: driver, pool: pool}, config}
	if _, err := former.provider(t).UpTo(t.Context(), feedHeadVersion-1); err != nil {
		t.Fatal(err)
	}
	return former
}

func (d formerDatabase) provider(t *testing.T) *goose.Provider {
	t.Helper()
	provider, err := migrate.NewProvider(d.dialect, d.pool, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// sequence adds changes to the feed as a store of the version before does.
func (d formerDatabase) sequence(t *testing.T, first, last int64) {
	t.Helper()
	for sequence := first; sequence <= last; sequence++ {
		exec(t, d.Storage, "INSERT INTO feed (sequence, user_id, session_id, version, ended, create_time) "+
			"VALUES (?, ?, '', ?, ?, ?)", sequence, newID(), sequence, false, toMicros(time.Now()))
	}
	exec(t, d.Storage, "UPDATE guards SET changes = ? WHERE name = 'feed'", last)
}

// wantNext migrates, and fails the test unless the feed ends with a sequence and continues with the next one.
func (d formerDatabase) wantNext(t *testing.T, last int64) {
	t.Helper()
	migrateSchema(t, d.config)
	s := open(t, d.config)
	before, err := s.ReadFeedState(t.Context())
	if err != nil || before.Last != last {
		t.Fatalf("feed ends with %d, not %d: %v", before.Last, last, err)
	}
	tell(t, s, 1, 1)
	sequenceAll(t, s)
	changes, err := s.ListChanges(t.Context(), last, 10)
	if err != nil || len(changes) != 1 || changes[0].Sequence != last+1 {
		t.Errorf("changes after %d are %+v, %v", last, changes, err)
	}
	if guards := texts(t, s, "SELECT name FROM guards"); fmt.Sprint(guards) != "[admins]" {
		t.Errorf("guards are %v", guards)
	}
}

func TestFeedHeadMigration(t *testing.T) {
	const last = 5
	for name, fill := range map[string]func(*testing.T, formerDatabase){
		"the_feed_has_all_changes": func(t *testing.T, former formerDatabase) {
			former.sequence(t, 1, last)
		},
		"the_beginning_of_the_feed_is_deleted": func(t *testing.T, former formerDatabase) {
			former.sequence(t, last-1, last)
		},
		"all_changes_of_the_feed_are_deleted": func(t *testing.T, former formerDatabase) {
			former.sequence(t, last+1, last) // Only the guard.
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, config Config) {
				former := newFormerDatabase(t, config)
				fill(t, former)
				former.wantNext(t, last)
			})
		})
	}
	t.Run("an_empty_feed", func(t *testing.T) {
		onEach(t, func(t *testing.T, config Config) { newFormerDatabase(t, config).wantNext(t, 0) })
	})
	t.Run("down_and_up_again", func(t *testing.T) {
		onEach(t, func(t *testing.T, config Config) {
			former := newFormerDatabase(t, config)
			former.sequence(t, 1, last)
			former.wantNext(t, last)
			if _, err := former.provider(t).DownTo(t.Context(), feedHeadVersion-1); err != nil {
				t.Fatal(err)
			}
			former.wantNext(t, last+1)
		})
	})
}
