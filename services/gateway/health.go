package gateway

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// health answers for the gateway, the services behind it, and their parts, with what readiness has found.
type health struct {
	healthpb.UnimplementedHealthServer

	services  []string // the public services, of which all have to work
	parts     []string // what is slower to be without
	readiness *readiness
	issuer    *authn.IssuerCheck
	draining  *atomic.Bool // that of the upstreamLog
	watches   *grpcx.HealthWatches
}

func newHealth(routes routes, upstreams Upstreams, issuer *authn.IssuerCheck, log *upstreamLog) *health {
	parts := partProbes(upstreams)
	probes := maps.Clone(parts)
	for name, route := range routes {
		probes[name] = probe{route.conn, name}
	}
	return &health{
		services: routes.services(), parts: slices.Sorted(maps.Keys(parts)),
		readiness: newReadiness(probes, log), issuer: issuer, draining: &log.draining,
		watches: grpcx.NewHealthWatches(),
	}
}

// partProbes are the probes of the parts, by the names that they have here. What the services can do without them is
// theirs to know.
func partProbes(upstreams Upstreams) map[string]probe {
	return map[string]probe{
		"gatehouse.cache":         {upstreams.Cache, ""},
		"gatehouse.cache.backend": {upstreams.Cache, "gatehouse.cache.backend"},
		"gatehouse.cache.feed":    {upstreams.Cache, "gatehouse.cache.feed"},
		"gatehouse.store":         {upstreams.Store, ""},
	}
}

// Check implements grpc.health.v1: a public service or a part by its name, or "" for all public services.
func (h *health) Check(
	ctx context.Context, req *healthpb.HealthCheckRequest,
) (*healthpb.HealthCheckResponse, error) {
	found := h.of(ctx, req.GetService())
	if found == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: found}, nil
}

// Watch implements grpc.health.v1. Its stream is open for as long as the client likes.
func (h *health) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	ctx := stream.Context()
	undo, ok := exemptStream(ctx)
	if !ok {
		return status.Error(codes.Unimplemented, "streams are not supported by this gateway")
	}
	defer undo()
	err := h.watches.Serve(stream, clientKey(ctx), func(ctx context.Context) servingStatus {
		return h.of(ctx, req.GetService())
	})
	return apierr.Status(err).Err()
}

// of returns the health of a public service or a part by its name, or of all public services for "".
func (h *health) of(ctx context.Context, name string) servingStatus {
	switch {
	case name == "":
		return total(h.status(ctx, h.services...))
	case slices.Contains(h.services, name) || slices.Contains(h.parts, name):
		return total(h.status(ctx, name))
	default:
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	}
}

// status returns the health of these names. A gateway that is about to stop serves nothing any more. One that refuses
// the tokens that the stores issue serves none of the public services, whatever works behind it.
func (h *health) status(ctx context.Context, names ...string) map[string]servingStatus {
	draining, refusing := h.draining.Load(), h.issuer.Err() != nil
	statuses := make(map[string]servingStatus, len(names))
	if !draining {
		statuses = h.readiness.status(ctx, names...)
	}
	for _, name := range names {
		if draining || refusing && slices.Contains(h.services, name) {
			statuses[name] = healthpb.HealthCheckResponse_NOT_SERVING
		}
	}
	return statuses
}

// total is the health of something that needs all of these.
func total(statuses map[string]servingStatus) servingStatus {
	for _, serving := range statuses {
		if serving != healthpb.HealthCheckResponse_SERVING {
			return healthpb.HealthCheckResponse_NOT_SERVING
		}
	}
	return healthpb.HealthCheckResponse_SERVING
}
