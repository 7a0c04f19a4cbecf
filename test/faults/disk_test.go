//go:build long

package faults

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// diskEpisodes is how often the disk is full, and the process is killed, in turn.
const diskEpisodes = 3

// newSQLite runs Gatehouse as one process, on SQLite, until the test ends.
func newSQLite(t *testing.T) *testCluster {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	return wrap(cluster.StartUp(t, binary, data, cheapHashes...), nil, func(t *testing.T) *sql.DB {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "gatehouse.db")+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	})
}

// TestFullDisk fills the disk under SQLite for a while, and kills the process, in turn: what was
// acknowledged is there, what was refused is not, reads go on, and nobody has to restart anything when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	c := newSQLite(t)
	up := c.Gateways[0]
	seed := seedOf(t)
	run, random := newRun(t, seed, c), rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run.startWorkers(ctx)
	run.awaitWrites(100)
	run.longest = shortFault
	full := run.fullDisk(up)
	for range diskEpisodes {
		run.suffer(ctx, random, full)
		run.awaitWrites(50)
		run.suffer(ctx, random, killed("up", up, staleness{}))
		run.awaitWrites(50)
	}
	cancel()
	run.finish()
}

// roomOnDisk is up to where files can be written when the disk is full, in bytes: less than any of them has by then.
const roomOnDisk = 64 << 10

func (r *run) fullDisk(up *cluster.Service) fault {
	return fault{name: "the disk is full", on: "up", begin: func(context.Context) (func() error, error) {
		reads, lost := r.figures.served()
		return func() error {
			if readsNow, lostNow := r.figures.served(); readsNow == reads || lostNow == lost {
				r.t.Errorf("with a full disk %d reads were answered, and %d changes could not be made", readsNow-reads, lostNow-lost)
			}
			return up.LimitFiles(testkit.NoLimit)
		}, up.LimitFiles(roomOnDisk)
	}}
}
