package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// probeTimeout bounds a health probe of an upstream.
const probeTimeout = 2 * time.Second

// health answers for the gateway and the services behind it. Each answer is asked of the upstream when it is wanted.
type health struct {
	healthpb.UnimplementedHealthServer

	routes   routes
	draining *atomic.Bool
}

// Check implements grpc.health.v1: a public service by its name, or "" for all of them.
func (h *health) Check(
	ctx context.Context, req *healthpb.HealthCheckRequest,
) (*healthpb.HealthCheckResponse, error) {
	services := []string{req.GetService()}
	if req.GetService() == "" {
		services = h.routes.services()
	} else if _, known := h.routes[req.GetService()]; !known {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	result := healthpb.HealthCheckResponse_SERVING
	for _, service := range services {
		if serving := h.probe(ctx, service); serving != healthpb.HealthCheckResponse_SERVING {
			result = serving
		}
	}
	return &healthpb.HealthCheckResponse{Status: result}, nil
}

// probe tells whether a service is served. A gateway that is about to stop serves nothing any more.
func (h *health) probe(ctx context.Context, service string) healthpb.HealthCheckResponse_ServingStatus {
	if h.draining.Load() {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	response, err := healthpb.NewHealthClient(h.routes[service].conn).
		Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return response.GetStatus()
}
