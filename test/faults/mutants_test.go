//go:build long

package faults

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
)

// mutant is a cache service that has forgotten a part of its protocol, and the faults under which, all at once, that
// shows.
type mutant struct {
	name           string
	file, old, new string
	faults         []string
}

func mutants() []mutant {
	return []mutant{
		{
			name: "does not compare before it sets",
			file: "services/cache/internal/redisbackend/redis.go",
			old:  "if not higher then redis.call(", new: "higher = false; if not higher then redis.call(",
			faults: []string{"cache→redis is slow for one"},
		},
		{
			name: "does not follow the feed",
			file: "services/cache/internal/coherence/feed.go",
			old:  "	write, err := e.writeOf(change)\n", new: "	return nil\n	write, err := e.writeOf(change)\n",
			faults: []string{"gateway→cache is cut"},
		},
		{
			name: "answers before Redis knows",
			file: "services/cache/commit.go",
			old:  "	store(lease, response)\n", new: "	go store(lease, response)\n",
			faults: []string{"cache→redis is slow"},
		},
	}
}

const (
	// maxSearched bounds the calls among which a broken protocol must show. It is a number of calls, not of faults or
	// seconds, so that a busy machine searches as much as a fast one. Most show within a few thousand.
	maxSearched = 20_000

	// shortLife is how many operations an account lives for, where something is looked for that is soon found.
	shortLife = 40
)

// TestCheckerMutants breaks the protocol of the caches on purpose, one part after the other: a checker
// that finds nothing then would find nothing ever.
func TestCheckerMutants(t *testing.T) {
	t.Parallel()
	for _, m := range mutants() {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			broken := overlay{}
			if err := broken.replace(m.file, m.old, m.new); err != nil {
				t.Fatal(err)
			}
			seed := seedOf(t)
			run := newRun(t, seed, newTestCluster(t, replicas, mustBuild(t, broken, "mutant")))
			var caught []string
			run.violated = func(text string) { caught = append(caught, text) }
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for _, slot := range run.slots {
				slot.lifeLength = shortLife
			}
			run.startWorkers(ctx)
			run.recover(ctx)
			random := rand.New(rand.NewPCG(seed, 0))
			run.longest = shortFault
			var faults []fault
			for _, name := range m.faults {
				faults = append(faults, run.named(random, name))
			}
			for run.figures.total() < maxSearched && len(caught) == 0 {
				run.suffer(ctx, random, faults...)
			}
			cancel()
			run.finish()
			if len(caught) == 0 {
				t.Fatalf("a cache that %s went unnoticed", m.name)
			}
			t.Log(caught[0])
		})
	}
}
