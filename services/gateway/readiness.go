package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

const (
	// probeInterval is the time from one round of probes to the next. A balancer that asks every few seconds is told no
	// later than before.
	probeInterval = time.Second

	// probeTimeout bounds a health probe of an upstream, and so a round.
	probeTimeout = 2 * time.Second

	// probeAttempts is how often an upstream is asked that says no: a replica that is about to stop says so for itself,
	// and the next may be another one.
	probeAttempts = 3

	// maxProbeAge is how old a result may be: some rounds that took all their time. What is older is not known any more.
	maxProbeAge = 3 * (probeInterval + probeTimeout)
)

// servingStatus is the health of one name, as grpc.health.v1 has it.
type servingStatus = healthpb.HealthCheckResponse_ServingStatus

// probe is a question for the health of something behind the gateway: the connection to it, and its name there.
type probe struct {
	conn grpc.ClientConnInterface
	name string
}

// readiness probes everything behind the gateway at a fixed pace, and holds the last result. Anybody may ask for the
// health of the gateway, without a token: what is answered must not make calls.
type readiness struct {
	probes map[string]probe
	log    *upstreamLog

	round  sync.Mutex      // held by a round, so that its result is not replaced by that of an older one
	warned map[string]bool // names that a warning was logged of, since they served last
	latest atomic.Pointer[probeResult]
	first  chan struct{} // closed once there is a result
}

// probeResult is what a round of probes found. It is not changed once it is published.
type probeResult struct {
	at    time.Time
	found map[string]servingStatus
}

func newReadiness(probes map[string]probe, log *upstreamLog) *readiness {
	return &readiness{probes: probes, log: log, warned: map[string]bool{}, first: make(chan struct{})}
}

// run probes until ctx is done. Rounds are spread by a tenth, so that gateways which started together do not stay so.
func (r *readiness) run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		r.refresh(ctx)
		spread := probeInterval/10 - rand.N(probeInterval/5) //nolint:gosec // nothing depends on nobody guessing it
		pause := time.NewTimer(time.Until(began.Add(probeInterval + spread)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// refresh probes all names at once, as each may take its whole time, and publishes what it found.
func (r *readiness) refresh(ctx context.Context) {
	r.round.Lock()
	defer r.round.Unlock()
	probing, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var mu sync.Mutex
	var probes sync.WaitGroup
	failed := make(map[string]error, len(r.probes))
	for name, probe := range r.probes {
		probes.Go(func() {
			err := probe.ask(probing)
			mu.Lock()
			defer mu.Unlock()
			failed[name] = err
		})
	}
	probes.Wait()
	if ctx.Err() == nil { // Otherwise nothing was found out.
		r.publish(failed)
	}
}

// publish stores what a round found, and logs what has changed.
func (r *readiness) publish(failed map[string]error) {
	result := &probeResult{at: time.Now(), found: make(map[string]servingStatus, len(failed))}
	last := r.latest.Load()
	for name, err := range failed {
		served := last == nil || last.found[name] == healthpb.HealthCheckResponse_SERVING
		result.found[name] = healthpb.HealthCheckResponse_SERVING
		if err != nil {
			result.found[name] = healthpb.HealthCheckResponse_NOT_SERVING
		}
		warning := r.log.level() == slog.LevelWarn
		switch {
		case err != nil && (served || warning && !r.warned[name]):
			r.log.down("upstream does not serve", "name", name, "error", apierr.LogText(err))
			r.warned[name] = warning
		case err == nil && !served:
			r.log.up("upstream serves again", "name", name)
			r.warned[name] = false
		}
	}
	r.latest.Store(result)
	if last == nil {
		close(r.first)
	}
}

// status returns the health of these names. It waits for the first result, and calls nobody.
func (r *readiness) status(ctx context.Context, names ...string) map[string]servingStatus {
	select {
	case <-r.first:
	case <-ctx.Done():
	}
	latest := r.latest.Load()
	known := latest != nil && time.Since(latest.at) <= maxProbeAge
	statuses := make(map[string]servingStatus, len(names))
	for _, name := range names {
		statuses[name] = healthpb.HealthCheckResponse_NOT_SERVING
		if known {
			statuses[name] = latest.found[name]
		}
	}
	return statuses
}

// errNotServing is the answer of an upstream that cannot work now.
var errNotServing = errors.New("it answers that it is not serving")

// ask returns nil if the upstream serves.
func (p probe) ask(ctx context.Context) (err error) {
	defer grpcx.Recover(&err)
	client := healthpb.NewHealthClient(p.conn)
	for range probeAttempts {
		response, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: p.name})
		if err != nil {
			return err // The connection has tried others already.
		}
		if response.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return nil
		}
	}
	return errNotServing
}
