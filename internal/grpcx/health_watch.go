package grpcx

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// maxHealthWatches bounds the streams of Watch that a server has at a time, and healthWatchesPerClient those of one
	// client. A gRPC client with health checks has one for each of its connections.
	maxHealthWatches       = 1024
	healthWatchesPerClient = 64

	// healthWatchInterval is the time from one check of the health to the next, which costs no probe.
	healthWatchInterval = time.Second
)

// HealthWatches serves the streams of Watch of grpc.health.v1, by which gRPC clients check the health of a connection
// (gRFC A17). It is safe for concurrent use.
type HealthWatches struct {
	streams *shares.Pool
	stop    sync.Once
	stopped chan struct{} // closed by Stop
}

// NewHealthWatches returns HealthWatches without streams.
func NewHealthWatches() *HealthWatches {
	return &HealthWatches{
		streams: shares.NewFair(maxHealthWatches, healthWatchesPerClient), stopped: make(chan struct{}),
	}
}

// Stop ends all streams, each with NOT_SERVING before, as a graceful stop of the server waits for them.
func (w *HealthWatches) Stop() { w.stop.Do(func() { close(w.stopped) }) }

// Serve sends what check returns, at once and whenever it changes, until the client ends the stream or Stop is called.
// Beyond its share of streams a client gets UNIMPLEMENTED: its calls go on without health checks then, while any other
// error would keep it from calling.
func (w *HealthWatches) Serve(
	stream healthpb.Health_WatchServer, client shares.Key,
	check func(context.Context) healthpb.HealthCheckResponse_ServingStatus,
) error {
	release, ok := w.streams.Acquire(client, 1)
	if !ok {
		return apierr.Verbatim(status.New(codes.Unimplemented, "too many health watches"))
	}
	defer release()
	ctx := stream.Context()
	interval := time.NewTicker(healthWatchInterval)
	defer interval.Stop()
	sent := healthpb.HealthCheckResponse_ServingStatus(-1)
	send := func(current healthpb.HealthCheckResponse_ServingStatus) error {
		if current == sent {
			return nil
		}
		sent = current
		return stream.Send(&healthpb.HealthCheckResponse{Status: current})
	}
	for {
		if err := send(check(ctx)); err != nil {
			return apierr.Cancelled(err)
		}
		select {
		case <-interval.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-w.stopped:
			if err := send(healthpb.HealthCheckResponse_NOT_SERVING); err != nil {
				return apierr.Cancelled(err)
			}
			return apierr.Verbatim(status.New(codes.Unavailable, "the service is stopping"))
		}
	}
}
