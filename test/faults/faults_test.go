//go:build long

// Package faults tests what Gatehouse promises while everything goes wrong: several of each service as real processes,
// with a real MariaDB and a real Redis, workers that use them, a nemesis that kills, freezes, cuts and spoils what it
// can, and a checker that wants an order of all that was done which explains every answer.
package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	// What the binary is made of: no result of another one is cached.
	_ "github.com/gatehouse-auth/gatehouse/services/cache"
	_ "github.com/gatehouse-auth/gatehouse/services/gateway"
	_ "github.com/gatehouse-auth/gatehouse/services/store"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// The gatehouse that the cluster is made of, and the same with a clock that may be wrong.
var binary, withWrongClock string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gatehouse")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if binary, err = cluster.Build(false); err == nil {
			withWrongClock, err = buildWithOwnClock(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

const (
	replicas = 2
	workers  = 8
	slots    = 20

	// groupSize is how many workers share a user: enough for races, few enough for an order to be found.
	groupSize = 3

	// mixedTime is how long faults are mixed at random where SOAK does not say so.
	mixedTime = 15 * time.Second
)

// TestFaults makes everything fail: without the variable SOAK each kind of fault once and then some at random, with
// it faults at random for that long (SOAK=30m). FAULTS=redis takes only those with this in their names. FAULTS_SEED
// repeats the faults of another run, and what workers choose; the machine's own timing differs.
func TestFaults(t *testing.T) {
	seed := seedOf(t)
	random := rand.New(rand.NewPCG(seed, 0))
	run := newRun(t, seed, newTestCluster(t, replicas, binary))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run.startWorkers(ctx)
	run.recover(ctx)
	mixed := mixedTime
	if soak := os.Getenv("SOAK"); soak != "" {
		length, err := time.ParseDuration(soak)
		if err != nil {
			t.Fatal(err)
		}
		mixed = length
	} else {
		run.longest = shortFault
		for _, fault := range run.short(random) {
			run.suffer(ctx, random, fault)
		}
	}
	t.Log(run.line())
	for end := time.Now().Add(mixed); time.Now().Before(end) && ctx.Err() == nil; {
		run.suffer(ctx, random, run.choose(random)...)
	}
	cancel()
	run.finish()
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	given := os.Getenv("FAULTS_SEED")
	if given == "" {
		return rand.Uint64() >> 32
	}
	seed, err := strconv.ParseUint(given, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}
