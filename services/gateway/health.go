package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	// probeTimeout bounds a health probe of an upstream.
	probeTimeout = 2 * time.Second

	// probeAttempts is how often an upstream is asked that says no: a replica that is about to stop says so for itself,
	// and the next may be another one.
	probeAttempts = 3
)

// health answers for the gateway, the services behind it, and their parts. Each answer is asked of the upstream when it
// is wanted.
type health struct {
	healthpb.UnimplementedHealthServer

	routes   routes
	parts    map[string]part
	draining *atomic.Bool
}

// part is something behind the gateway, and the name by which its service tells of it.
type part struct {
	conn grpc.ClientConnInterface
	name string
}

// newParts are the parts by the names that they have here. What the services can do without them is theirs to know.
func newParts(upstreams Upstreams) map[string]part {
	return map[string]part{
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
	name := req.GetService()
	_, isPart := h.parts[name]
	_, isService := h.routes[name]
	switch {
	case name == "":
		return &healthpb.HealthCheckResponse{Status: total(h.probeAll(ctx, h.routes.services()))}, nil
	case isPart || isService:
		return &healthpb.HealthCheckResponse{Status: h.probe(ctx, name)}, nil
	default:
		return nil, status.Error(codes.NotFound, "unknown service")
	}
}

// total is the health of something that needs all of these.
func total(found map[string]healthpb.HealthCheckResponse_ServingStatus) healthpb.HealthCheckResponse_ServingStatus {
	for _, serving := range found {
		if serving != healthpb.HealthCheckResponse_SERVING {
			return healthpb.HealthCheckResponse_NOT_SERVING
		}
	}
	return healthpb.HealthCheckResponse_SERVING
}

// probeAll probes all at once: each may take its whole time.
func (h *health) probeAll(ctx context.Context, names []string) map[string]healthpb.HealthCheckResponse_ServingStatus {
	found := make([]healthpb.HealthCheckResponse_ServingStatus, len(names))
	var probes sync.WaitGroup
	for i, name := range names {
		probes.Go(func() { found[i] = h.probe(ctx, name) })
	}
	probes.Wait()
	byName := make(map[string]healthpb.HealthCheckResponse_ServingStatus, len(names))
	for i, name := range names {
		byName[name] = found[i]
	}
	return byName
}

// probe tells whether a service or a part works. A gateway that is about to stop serves nothing any more.
func (h *health) probe(ctx context.Context, name string) healthpb.HealthCheckResponse_ServingStatus {
	if h.draining.Load() {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	asked, isPart := h.parts[name]
	if !isPart {
		asked = part{h.routes[name].conn, name}
	}
	client := healthpb.NewHealthClient(asked.conn)
	for range probeAttempts {
		response, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: asked.name})
		if err != nil {
			break // The connection has tried others already.
		}
		if response.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return healthpb.HealthCheckResponse_SERVING
		}
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}
