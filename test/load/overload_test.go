package load

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
)

const (
	// rounds are how often everything is measured, in turn, so that whatever else the machine does is shared by all. The
	// figure is the median.
	rounds = 7

	// phase is how long each is measured, and settling how long it takes before: a queue must fill, and the one of the
	// phase before must empty.
	phase, settling = 10 * time.Second, 3 * time.Second

	// readsPerSecond are the reads of profiles, with the flood and without. Thousand in a phase make a p99.
	readsPerSecond = 100

	// flooding is how many times what can be served is offered.
	flooding = 10

	// minServed is the part of the unloaded rate that is still served, and maxSlower how many times as long a read may
	// take.
	minServed, maxSlower = 0.9, 3.0
)

// round is what was measured in one round.
type round struct {
	unloaded, offered, served float64 // log-ins per second
	quiet, flooded            *reads
}

// generator holds a connection for each kind of call, so that none waits for another's.
type generator struct {
	*testEnv

	logIns, reads *grpc.ClientConn
}

// lasting is a context that is cancelled after a time. It has no deadline, which the calls in it would take along.
func lasting(tb testing.TB, duration time.Duration) (context.Context, context.CancelFunc) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	time.AfterFunc(duration, cancel)
	return ctx, cancel
}

// measureUnloaded returns how many log-ins are served in a second if no more are sent than keep the cores busy, beside
// the same reads as in the flood: these take what they take of the cores, with it and without.
func (g *generator) measureUnloaded(tb testing.TB) float64 {
	tb.Helper()
	var outcomes outcomes
	ctx, cancel := lasting(tb, settling+phase)
	defer cancel()
	rate := make(chan float64)
	go func() { rate <- perSecond(&outcomes) }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		closedLoop(ctx, g.testEnv, g.logIns, 2*runtime.NumCPU(), &outcomes)
	}()
	g.measureReads(tb)
	<-ended
	outcomes.check(tb)
	return <-rate
}

// perSecond returns how many log-ins are served in a second of a phase that begins now, of the time that the machine
// had: what a hypervisor gave to others meanwhile is not counted.
func perSecond(outcomes *outcomes) float64 {
	time.Sleep(settling)
	before, began, ticksBefore := outcomes.served.Load(), time.Now(), readTicks()
	time.Sleep(phase - phase/10) // It is over before the phase is.
	had := 1 - readTicks().stolenSince(ticksBefore)
	return float64(outcomes.served.Load()-before) / (time.Since(began).Seconds() * had)
}

// measureReads reads profiles at a fixed rate.
func (g *generator) measureReads(tb testing.TB) *reads {
	tb.Helper()
	time.Sleep(settling)
	ctx, cancel := lasting(tb, phase)
	defer cancel()
	var taken reads
	openLoop(ctx, readsPerSecond, func(i int, due time.Time) {
		taken.read(ctx, g.reads, g.accounts[i%len(g.accounts)], due)
	})
	if taken.err != nil {
		tb.Errorf("a read failed: %v", taken.err)
	}
	return &taken
}

// measureFlood offers log-ins at a rate, and reads profiles meanwhile.
func (g *generator) measureFlood(tb testing.TB, offered float64) (served float64, taken *reads) {
	tb.Helper()
	var outcomes outcomes
	ctx, cancel := lasting(tb, settling+phase)
	defer cancel()
	flood := newFlood(tb, g.testEnv, &outcomes)
	rate := make(chan float64)
	go func() { rate <- perSecond(&outcomes) }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		flood.run(ctx, offered)
	}()
	taken = g.measureReads(tb)
	<-ended
	outcomes.check(tb)
	if outcomes.refused.Load() == 0 {
		tb.Error("no log-in was refused: it was no flood")
	}
	return <-rate, taken
}

func (g *generator) measure(tb testing.TB) round {
	tb.Helper()
	var r round
	r.unloaded = g.measureUnloaded(tb)
	r.offered = flooding * r.unloaded
	r.quiet = g.measureReads(tb)
	r.served, r.flooded = g.measureFlood(tb, r.offered)
	return r
}

// BenchmarkOverload measures what a flood of log-ins does to log-ins and to reads, and fails if it is more than it may.
func BenchmarkOverload(b *testing.B) {
	env := newTestEnv(b, 50)
	g := &generator{testEnv: env, logIns: env.dial(b), reads: env.dial(b)}
	var table strings.Builder
	fmt.Fprintf(&table, "%9s %8s %8s %6s   %10s %10s %10s %10s %6s\n", "unloaded", "offered", "served", "ratio",
		"p50", "p99", "flood p50", "flood p99", "ratio")
	var served, slower []float64
	for range rounds {
		r := g.measure(b)
		served = append(served, r.served/r.unloaded)
		quiet, flooded := r.quiet.quantile(0.99), r.flooded.quantile(0.99)
		slower = append(slower, float64(flooded)/float64(quiet))
		fmt.Fprintf(&table, "%7.1f/s %6.0f/s %6.1f/s %6.2f   %7d µs %7d µs %7d µs %7d µs %6.2f\n",
			r.unloaded, r.offered, r.served, served[len(served)-1], r.quiet.quantile(0.5).Microseconds(),
			quiet.Microseconds(), r.flooded.quantile(0.5).Microseconds(), flooded.Microseconds(), slower[len(slower)-1])
	}
	fmt.Fprintf(&table, "medians: served %.2f of the unloaded rate, p99 of reads %.2f times as long\n",
		median(served), median(slower))
	fmt.Fprintln(os.Stdout, table.String())
	if got := median(served); got < minServed {
		b.Errorf("served are %.2f of the unloaded rate, not %.2f", got, minServed)
	}
	if got := median(slower); got > maxSlower {
		b.Errorf("the p99 of reads is %.2f times as long, not %.2f", got, maxSlower)
	}
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
