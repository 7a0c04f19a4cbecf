// Package ops reports the health of the gateway and of the services behind it: over grpc.health.v1, and for /readyz.
package ops

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/upstream"
)

// Health implements grpc.health.v1 for the gateway, the services behind it and their parts, with the results of
// Readiness.
type Health struct {
	healthpb.UnimplementedHealthServer

	Readiness *Readiness

	services []string // the public services; the gateway serves if all of them do
	parts    []string // without a part the services are slower, but serve
	issuer   *authn.IssuerCheck
	log      *upstream.Log
	watches  *grpcx.HealthWatches
}

// NewHealth returns the health of a gateway with these public services and upstreams. Nothing is probed before
// Readiness.Run.
func NewHealth(
	services []edge.Service, cache, store grpc.ClientConnInterface, issuer *authn.IssuerCheck, log *upstream.Log,
) *Health {
	parts := partProbes(cache, store)
	h := &Health{
		parts: slices.Sorted(maps.Keys(parts)), issuer: issuer, log: log, watches: grpcx.NewHealthWatches(),
	}
	probes := parts
	for _, service := range services {
		probes[service.Name] = probe{service.Conn, service.Name}
		h.services = append(h.services, service.Name)
	}
	h.Readiness = newReadiness(probes, log)
	return h
}

// partProbes returns the probes of the parts by the names that the gateway reports them under.
func partProbes(cache, store grpc.ClientConnInterface) map[string]probe {
	return map[string]probe{
		"gatehouse.cache":         {cache, ""},
		"gatehouse.cache.backend": {cache, "gatehouse.cache.backend"},
		"gatehouse.cache.feed":    {cache, "gatehouse.cache.feed"},
		"gatehouse.store":         {store, ""},
	}
}

// SetDraining sets whether the gateway is about to stop and reports NOT_SERVING.
func (h *Health) SetDraining(draining bool) { h.log.SetDraining(draining) }

// Draining reports whether the gateway is about to stop.
func (h *Health) Draining() bool { return h.log.Draining() }

// StopWatches ends the streams of Watch.
func (h *Health) StopWatches() { h.watches.Stop() }

// Check implements grpc.health.v1: for a public service or a part by its name, or for all public services by "".
func (h *Health) Check(
	ctx context.Context, req *healthpb.HealthCheckRequest,
) (*healthpb.HealthCheckResponse, error) {
	found := h.statusOf(ctx, req.GetService())
	if found == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: found}, nil
}

// Watch implements grpc.health.v1. The client decides how long its stream is open.
func (h *Health) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	err := h.watches.Serve(stream, edge.ClientKey(stream.Context()), func(ctx context.Context) servingStatus {
		return h.statusOf(ctx, req.GetService())
	})
	return apierr.Status(err).Err()
}

// statusOf returns the health of a public service or a part by its name, or of all public services for "".
func (h *Health) statusOf(ctx context.Context, name string) servingStatus {
	switch {
	case name == "":
		return combined(h.status(ctx, h.services...))
	case slices.Contains(h.services, name) || slices.Contains(h.parts, name):
		return combined(h.status(ctx, name))
	default:
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	}
}

// status returns the health of these names. A gateway that is about to stop reports NOT_SERVING for all of them. A
// gateway that rejects the tokens which the stores issue reports NOT_SERVING for the public services.
func (h *Health) status(ctx context.Context, names ...string) map[string]servingStatus {
	draining, rejecting := h.Draining(), h.issuer.Err() != nil
	statuses := make(map[string]servingStatus, len(names))
	if !draining {
		statuses = h.Readiness.status(ctx, names...)
	}
	for _, name := range names {
		if draining || rejecting && slices.Contains(h.services, name) {
			statuses[name] = healthpb.HealthCheckResponse_NOT_SERVING
		}
	}
	return statuses
}

// combined returns SERVING if all statuses are SERVING.
func combined(statuses map[string]servingStatus) servingStatus {
	for _, serving := range statuses {
		if serving != healthpb.HealthCheckResponse_SERVING {
			return healthpb.HealthCheckResponse_NOT_SERVING
		}
	}
	return healthpb.HealthCheckResponse_SERVING
}

// Report is the health of the gateway as JSON of /readyz.
type Report struct {
	Status   string            `json:"status"`
	Services map[string]string `json:"services"`
	Parts    map[string]string `json:"parts"`
	Faults   []string          `json:"faults,omitempty"` // settings that differ from those of a store
}

// Report returns the health of each public service and each part, and whether all services serve.
func (h *Health) Report(ctx context.Context) (report Report, serving bool) {
	services := h.status(ctx, h.services...)
	overall := combined(services)
	return Report{
		Status: overall.String(), Services: statusNames(services), Parts: statusNames(h.status(ctx, h.parts...)),
		Faults: h.issuer.Disagreements(),
	}, overall == healthpb.HealthCheckResponse_SERVING
}

func statusNames(statuses map[string]servingStatus) map[string]string {
	names := make(map[string]string, len(statuses))
	for name, status := range statuses {
		names[name] = status.String()
	}
	return names
}
