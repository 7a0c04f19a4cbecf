package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// health checks the health of a service over grpc.health.v1: for health checks of containers that have no shell.
type health struct {
	Address string `default:"localhost:9090" help:"Address of the gRPC port of the service: HOST:PORT."`
	logSettings
}

func (c *health) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	problems.add(checkTarget("--address", c.Address))
}

func (c *health) run(ctx context.Context, _ *slog.Logger, stdout io.Writer) error {
	conn, err := grpcx.DialAddresses([]string{c.Address}, authn.ServiceCredential{})
	if err != nil {
		return err
	}
	defer closeConn(conn)
	response, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("check the health of %s: %w", c.Address, err)
	}
	if response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s is %s", c.Address, response.GetStatus())
	}
	_, err = fmt.Fprintln(stdout, response.GetStatus())
	return err
}
