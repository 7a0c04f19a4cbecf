package ops

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
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/wait"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/upstream"
)

// maxProbeAge is how old a result may be: three rounds that took all their time. An older one counts as NOT_SERVING.
const maxProbeAge = 3 * (deadlines.HealthInterval + deadlines.HealthProbe)

// servingStatus is the health of one name in the terms of grpc.health.v1.
type servingStatus = healthpb.HealthCheckResponse_ServingStatus

// probe is a health check of something behind the gateway: the connection to it, and its name there.
type probe struct {
	conn grpc.ClientConnInterface
	name string
}

// Readiness probes everything behind the gateway at a fixed pace, and holds the last result. Any client may read the
// health of the gateway without a token, so that reading it must not make calls.
type Readiness struct {
	probes map[string]probe
	log    *upstream.Log

	round  sync.Mutex      // held by a round, so that its result is not replaced by that of an older one
	warned map[string]bool // names with a logged warning since they last served
	latest atomic.Pointer[probeResult]
	first  chan struct{} // closed once there is a result
}

// probeResult is the result of a round of probes. It does not change after it is published.
type probeResult struct {
	at    time.Time
	found map[string]servingStatus
}

func newReadiness(probes map[string]probe, log *upstream.Log) *Readiness {
	return &Readiness{probes: probes, log: log, warned: map[string]bool{}, first: make(chan struct{})}
}

// Run probes until ctx is done. The interval varies by a tenth, so that gateways which started together drift apart.
func (r *Readiness) Run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		r.Refresh(ctx)
		spread := deadlines.HealthInterval/10 - rand.N(deadlines.HealthInterval/5) //nolint:gosec // It need not be unpredictable.
		wait.For(ctx, time.Until(began.Add(deadlines.HealthInterval+spread)))
	}
}

// Refresh probes all names concurrently, as each probe may take its whole time, and publishes the result.
func (r *Readiness) Refresh(ctx context.Context) {
	r.round.Lock()
	defer r.round.Unlock()
	probing, cancel := context.WithTimeout(ctx, deadlines.HealthProbe)
	defer cancel()
	var mu sync.Mutex
	var probes sync.WaitGroup
	failed := make(map[string]error, len(r.probes))
	for name, probe := range r.probes {
		probes.Go(func() {
			err := probe.check(probing)
			mu.Lock()
			defer mu.Unlock()
			failed[name] = err
		})
	}
	probes.Wait()
	if ctx.Err() == nil { // Otherwise the probes have no result.
		r.publish(failed)
	}
}

// publish stores the result of a round, and logs changes.
func (r *Readiness) publish(failed map[string]error) {
	result := &probeResult{at: time.Now(), found: make(map[string]servingStatus, len(failed))}
	last := r.latest.Load()
	for name, err := range failed {
		served := last == nil || last.found[name] == healthpb.HealthCheckResponse_SERVING
		result.found[name] = healthpb.HealthCheckResponse_SERVING
		if err != nil {
			result.found[name] = healthpb.HealthCheckResponse_NOT_SERVING
		}
		warning := r.log.Level() == slog.LevelWarn
		switch {
		case err != nil && (served || warning && !r.warned[name]):
			r.log.Down("upstream does not serve", "name", name, "error", apierr.LogText(err))
			r.warned[name] = warning
		case err == nil && !served:
			r.log.Up("upstream serves again", "name", name)
			r.warned[name] = false
		}
	}
	r.latest.Store(result)
	if last == nil {
		close(r.first)
	}
}

// status returns the health of these names. It waits for the first result, and makes no calls.
func (r *Readiness) status(ctx context.Context, names ...string) map[string]servingStatus {
	select {
	case <-r.first:
	case <-ctx.Done():
	}
	latest := r.latest.Load()
	current := latest != nil && time.Since(latest.at) <= maxProbeAge
	statuses := make(map[string]servingStatus, len(names))
	for _, name := range names {
		statuses[name] = healthpb.HealthCheckResponse_NOT_SERVING
		if current {
			statuses[name] = latest.found[name]
		}
	}
	return statuses
}

// errNotServing is the result of a probe whose upstream answers, but does not serve.
var errNotServing = errors.New("the upstream reports NOT_SERVING")

// check returns nil if the upstream serves.
func (p probe) check(ctx context.Context) (err error) {
	defer grpcx.Recover(&err)
	client := healthpb.NewHealthClient(p.conn)
	for range deadlines.HealthAttempts {
		response, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: p.name})
		if err != nil {
			return err // The connection has retried already.
		}
		if response.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return nil
		}
	}
	return errNotServing
}
