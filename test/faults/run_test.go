//go:build long

package faults

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// A fault lasts at least and at most so long: longer than some timeouts, shorter than others.
	minFault, maxFault = time.Second, 3500 * time.Millisecond

	// shortFault is the longest where each kind is tried once.
	shortFault = 2 * time.Second

	// recovery bounds how long it may take after a fault until every gateway acknowledges writes again. Nobody restarts
	// anything for it.
	recovery = 30 * time.Second

	// reportInterval is how often figures are printed.
	reportInterval = 30 * time.Second
)

// run is one run of workers and nemesis in a cluster.
type run struct {
	t        *testing.T
	seed     uint64
	cluster  *testCluster
	db       *sql.DB
	begin    time.Time
	figures  *figures
	slots    []*slot
	workers  sync.WaitGroup
	unique   atomic.Int64 // numbers of what must not be named twice
	log      chronicle
	longest  time.Duration // of faults
	only     string        // what the name of each fault must contain
	reported time.Time
	violated func(text string) // notified of each violation

	addresses map[string]bool
}

func newRun(t *testing.T, seed uint64, c *testCluster) *run {
	t.Helper()
	t.Logf("seed %d", seed)
	r := &run{
		t: t, seed: seed, cluster: c, figures: newFigures(len(c.rest)), longest: maxFault, only: os.Getenv("FAULTS"),
		addresses: map[string]bool{}, violated: func(text string) { t.Error(text) },
	}
	r.db = c.open(t)
	for i := range slots {
		r.slots = append(r.slots, &slot{number: i, lifeLength: longLife})
	}
	r.begin = time.Now()
	r.reported = r.begin
	return r
}

// startWorkers starts the workers, half of them over REST. Each user is used by a few of them.
func (r *run) startWorkers(ctx context.Context) {
	for i := range workers {
		w := &worker{
			number: i, random: rand.New(rand.NewPCG(r.seed, uint64(i+1))), begin: r.begin, figures: r.figures, unique: &r.unique, turn: i,
		}
		for gateway := range r.cluster.rest {
			if i%2 == 0 {
				w.clients = append(w.clients, newREST(r.t, gateway, r.cluster.rest[gateway]))
			} else {
				w.clients = append(w.clients, newNative(r.t, gateway, r.cluster.native[gateway]))
			}
		}
		for number, slot := range r.slots {
			for member := range groupSize {
				if (number+member*groupSize)%workers == i {
					w.slots = append(w.slots, slot)
				}
			}
		}
		r.workers.Go(func() { w.run(ctx) })
	}
}

// short contains each kind of fault once, of one process or link where it makes no difference which.
func (r *run) short(random *rand.Rand) []fault {
	wanted := []string{
		"gateway 0 is killed", "cache 1 is killed", "store 0 is killed", "gateway 1 is frozen", "cache 0 is frozen", "store 1 is frozen",
		"gateway 1's clock is 5m0s off", "cache 0's clock is -5m0s off", "store 1's clock is 5m0s off",
		"redis is killed and comes back empty", "redis is killed and comes back with old data", "redis is frozen", "redis is full",
		"redis is full and evicts", "redis is poisoned", "mariadb is killed", "mariadb is frozen",
		"gateway→cache is cut", "gateway→cache swallows answers", "gateway→store swallows everything", "cache→store is cut for all",
		"cache→store swallows answers", "cache→redis is slow", "cache→redis is cut", "cache→redis swallows everything",
		"cache→redis is slower than its timeout", "store→mariadb is cut", "store→mariadb swallows answers", "store→mariadb is slow",
	}
	chosen := make([]fault, 0, len(wanted))
	for _, name := range wanted {
		if f := r.named(random, name); strings.Contains(name, r.only) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// named finds a fault.
func (r *run) named(random *rand.Rand, name string) fault {
	r.t.Helper()
	all := r.cluster.catalogue(random)
	i := slices.IndexFunc(all, func(f fault) bool { return f.name == name })
	if i < 0 {
		r.t.Fatalf("there is no fault %q", name)
	}
	return all[i]
}

// choose picks a fault at random, and now and then another one beside it. If reads may be outdated with one of them,
// they may be so for as long as both last: what would bound it, the other may keep away.
func (r *run) choose(random *rand.Rand) []fault {
	all := slices.DeleteFunc(r.cluster.catalogue(random), func(f fault) bool { return !strings.Contains(f.name, r.only) })
	slices.SortFunc(all, func(a, b fault) int { return strings.Compare(a.name, b.name) }) // The seed decides, not a map.
	first, second := all[random.IntN(len(all))], all[random.IntN(len(all))]
	if random.IntN(3) > 0 || first.on == second.on {
		return []fault{first}
	}
	if first.stale != (staleness{}) || second.stale != (staleness{}) {
		first.stale = staleness{settle: first.stale.settle + second.stale.settle}
		second.stale = first.stale
	}
	return []fault{first, second}
}

// suffer starts the faults at once, ends them, waits until the cluster is well again, and checks what is over.
func (r *run) suffer(ctx context.Context, random *rand.Rand, faults ...fault) {
	r.t.Helper()
	ends := make([]func() error, 0, len(faults))
	first := len(r.log)
	for _, f := range faults {
		r.log = append(r.log, episode{name: f.name, begin: time.Since(r.begin), stale: f.stale})
		end, err := f.begin(ctx)
		if err != nil {
			r.t.Fatalf("%s: %v", f.name, err)
		}
		ends = append(ends, end)
	}
	pause(ctx, minFault+time.Duration(random.Int64N(int64(r.longest-minFault))))
	r.end(faults, ends, r.log[first:])
	r.figures.add(len(faults), 0, 0)
	settle := time.Duration(0)
	for _, f := range faults {
		settle = max(settle, f.stale.settle)
	}
	pause(ctx, settle)
	r.recover(ctx)
	r.checkFinished(false)
	if time.Since(r.reported) >= reportInterval {
		r.reported = time.Now()
		r.t.Log(r.line())
	}
}

// end ends faults, all at once: a store that is started waits for the database that another of them has taken away.
func (r *run) end(faults []fault, ends []func() error, log []episode) {
	r.t.Helper()
	errs := make([]error, len(ends))
	var ending sync.WaitGroup
	for i, end := range ends {
		ending.Go(func() {
			errs[i] = end()
			log[i].ended = time.Since(r.begin)
		})
	}
	ending.Wait()
	for i, err := range errs {
		if err != nil {
			r.t.Fatalf("the end of %q: %v", faults[i].name, err)
		}
	}
}

// recover waits until every gateway has acknowledged some more writes.
func (r *run) recover(ctx context.Context) {
	r.t.Helper()
	const enough = 5
	before, start := r.figures.written(), time.Now()
	for ctx.Err() == nil {
		well := true
		for i, now := range r.figures.written() {
			well = well && now >= before[i]+enough
		}
		if well {
			return
		}
		if time.Since(start) > recovery {
			r.figures.add(0, 0, 1)
			r.t.Fatalf("VIOLATION (seed %d): %v after the fault not every gateway acknowledges writes: %v before, %v now\n%s",
				r.seed, recovery, before, r.figures.written(), r.around(nil))
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// checkFinished checks the histories of the lives that are over, or of all.
func (r *run) checkFinished(all bool) {
	r.t.Helper()
	for _, slot := range r.slots {
		for _, l := range slot.take(all) {
			r.check(l)
		}
	}
}

func (r *run) check(l *life) {
	r.t.Helper()
	r.addresses[l.address] = true
	found, err := inspect(r.db, l, r.begin)
	if err != nil {
		r.t.Fatal(err)
	}
	l.record(found)
	findings := checkHistory(l.operations, rules{stale: r.log.excuses, unheard: unheard})
	r.figures.add(0, 1, len(findings))
	for i, f := range findings {
		text := fmt.Sprintf("VIOLATION (seed %d): %s, %v\nwhat went wrong around it:\n%s", r.seed, l.address, f, r.around(f.culprit))
		if f.picture != nil {
			path := filepath.Join(os.TempDir(), fmt.Sprintf("gatehouse-faults-%d-%s-%d.html", r.seed, l.address, i))
			if err := f.picture(path); err == nil {
				text += "\na picture of it: " + path
			}
		}
		r.violated(text)
	}
}

func (r *run) around(o *operation) string {
	var text strings.Builder
	for _, e := range r.log.around(o) {
		fmt.Fprintln(&text, e)
	}
	return text.String()
}

func (r *run) line() string { return r.figures.line(r.seed, time.Since(r.begin)) }

// finish ends the run, when the workers have ended, and checks everything.
func (r *run) finish() {
	r.t.Helper()
	r.workers.Wait()
	r.checkFinished(true)
	checkAddresses(r.t, r.db, r.addresses)
	r.t.Log(r.line())
}
