package grpcx

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// probeTimeout bounds a probe of what a service needs.
	probeTimeout = time.Second

	// maxProbeAge is how long the result of a probe is served to all clients: about the interval of a load balancer.
	maxProbeAge = time.Second
)

// probedHealth is grpc.health.v1 that probes what the service needs before it reports SERVING. A service that drains
// reports so without a probe.
type probedHealth struct {
	*health.Server

	probe   *sharedProbe
	named   map[string]*sharedProbe // of optional dependencies
	watches *HealthWatches
}

func newProbedHealth(probe func(context.Context) error) *probedHealth {
	return &probedHealth{
		Server: health.NewServer(), probe: newSharedProbe(probe), named: map[string]*sharedProbe{},
		watches: NewHealthWatches(),
	}
}

// Check implements grpc.health.v1. A name that is not known is NOT_FOUND, as the protocol requires.
func (h *probedHealth) Check(
	ctx context.Context, req *healthpb.HealthCheckRequest,
) (*healthpb.HealthCheckResponse, error) {
	response, err := h.Server.Check(ctx, req)
	if err != nil {
		return nil, apierr.Verbatim(status.Convert(err))
	}
	if response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return response, nil
	}
	probe, named := h.named[req.GetService()]
	if !named {
		probe = h.probe
	}
	if !probe.succeeds(ctx) {
		response = &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}
	}
	return response, nil
}

// Watch implements grpc.health.v1. A name that is not known is SERVICE_UNKNOWN, as the protocol requires.
func (h *probedHealth) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	address, _ := netip.ParseAddr(callctx.ClientFrom(stream.Context()).Address) // Those without one share one key.
	return h.watches.Serve(stream, shares.KeyOf(address),
		func(ctx context.Context) healthpb.HealthCheckResponse_ServingStatus {
			response, err := h.Check(ctx, req)
			if err != nil {
				return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
			}
			return response.GetStatus()
		})
}

// Shutdown makes all names NOT_SERVING for good, and ends the streams that watch them.
func (h *probedHealth) Shutdown() {
	h.Server.Shutdown()
	h.watches.Stop()
}

// Probe adds a name to health for an optional dependency. It must be called before Serve.
func (s *Server) Probe(name string, probe func(context.Context) error) {
	s.health.named[name] = newSharedProbe(probe)
	s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
}

// sharedProbe is a probe whose result is served for maxProbeAge. Health needs no token: however often clients check it,
// the database sees one probe a second.
type sharedProbe struct {
	probe func(context.Context) error
	lock  chan struct{} // a mutex of what follows, with a context
	err   error
	at    time.Time
}

func newSharedProbe(probe func(context.Context) error) *sharedProbe {
	return &sharedProbe{probe: probe, lock: make(chan struct{}, 1)}
}

func (p *sharedProbe) succeeds(ctx context.Context) bool { return p.result(ctx) == nil }

// result returns the error of the probe. A caller that gives up does not end a probe for which others wait.
func (p *sharedProbe) result(ctx context.Context) error {
	select {
	case p.lock <- struct{}{}:
		defer func() { <-p.lock }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !p.at.IsZero() && time.Since(p.at) < maxProbeAge {
		return p.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	p.err = p.probe(ctx)
	p.at = time.Now()
	return p.err
}
