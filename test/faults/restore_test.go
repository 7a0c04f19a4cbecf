//go:build long

package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestRestoreOfTheDatabase runs workers, saves the database, runs them again, puts the database back, and has the
// epoch bumped. From then on every token is good or not by what is in the database, and every profile is what is
// there, at each gateway: whatever Redis has learnt since was never true. Before the cache services are back, the
// feed has grown beyond where they had left it, so that it alone shows them nothing amiss.
func TestRestoreOfTheDatabase(t *testing.T) {
	t.Parallel()
	run := newRun(t, seedOf(t), newTestCluster(t, replicas, binary))
	mariadb, saved := run.cluster.MariaDB, filepath.Join(t.TempDir(), "saved")
	for _, slot := range run.slots {
		slot.lifeLength = shortLife
	}
	run.work(200)
	mariadb.Kill()
	if err := errors.Join(mariadb.Save(saved), mariadb.Start()); err != nil {
		t.Fatal(err)
	}
	run.work(100)
	tokens := run.tokens()
	for _, cache := range run.cluster.Caches {
		cache.Kill()
	}
	mariadb.Kill()
	if err := errors.Join(mariadb.Restore(saved), mariadb.Start()); err != nil {
		t.Fatal(err)
	}
	run.cluster.Command(t, "epoch", "bump")
	run.work(200)
	for _, cache := range run.cluster.Caches {
		if err := cache.Start(); err != nil {
			t.Fatal(err)
		}
	}
	var clients []client
	for gateway := range replicas {
		clients = append(clients, newNative(t, gateway, run.cluster.native[gateway]), newREST(t, gateway, run.cluster.rest[gateway]))
	}
	testkit.Eventually(t, func() error { return followTheDatabase(t.Context(), run.db, clients, tokens) })
	if err := followTheDatabase(t.Context(), run.db, clients, tokens); err != nil {
		t.Error(err)
	}
	run.cluster.AwaitReady(t)
}

// work runs the workers until each gateway has acknowledged so much.
func (r *run) work(enough int) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	r.startWorkers(ctx)
	r.awaitWrites(enough)
	cancel()
	r.workers.Wait()
}

// awaitWrites waits until each gateway has acknowledged so much more.
func (r *run) awaitWrites(enough int) {
	r.t.Helper()
	before := r.figures.written()
	testkit.Eventually(r.t, func() error {
		for i, now := range r.figures.written() {
			if now < before[i]+enough {
				return fmt.Errorf("gateway %d has acknowledged %d", i, now-before[i])
			}
		}
		return nil
	})
}

// tokens are all tokens that the workers were given.
func (r *run) tokens() []*token {
	var all []*token
	for _, slot := range r.slots {
		for _, life := range slot.take(true) {
			all = append(all, life.sessions...)
		}
	}
	return all
}

// followTheDatabase reads the profile with every token by every client, and reports what differs from the database.
func followTheDatabase(ctx context.Context, db *sql.DB, clients []client, tokens []*token) error {
	faults := make([]error, workers)
	var asking sync.WaitGroup
	for i := range workers {
		asking.Go(func() {
			for n := i; n < len(tokens) && faults[i] == nil; n += workers {
				faults[i] = followsTheDatabase(ctx, db, clients, tokens[n])
			}
		})
	}
	asking.Wait()
	return errors.Join(faults...)
}

func followsTheDatabase(ctx context.Context, db *sql.DB, clients []client, with *token) error {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	var want seen
	stands := true
	err := db.QueryRowContext(ctx, `SELECT u.id, u.version, u.full_name FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.id = ? AND s.end_time IS NULL AND s.generation = u.session_generation`, with.id).
		Scan(&want.id, &want.version, &want.value)
	if errors.Is(err, sql.ErrNoRows) {
		stands, err = false, nil
	}
	if err != nil {
		return err
	}
	for _, client := range clients {
		answer := new(gatehousev1.ReadUserResponse)
		outcome, reason := judge(client.call(ctx, with.access, &gatehousev1.ReadUserRequest{Id: "me"}, answer))
		got := seenIn(answer.GetUser())
		if stands && (outcome != accepted || got != want) || !stands && (outcome != refused || reason != "SESSION_ENDED") {
			return fmt.Errorf("%v: session %s, which stands: %t, shows %+v %s; the database has %+v",
				client, with.id, stands, got, reason, want)
		}
	}
	return nil
}
