package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	gatewayservice "github.com/gatehouse-auth/gatehouse/services/gateway"
)

// gateway runs the gateway.
type gateway struct {
	HTTP         string        `name:"http" default:"localhost:8080" help:"Address to serve REST, Swagger UI, the OpenAPI document and health on, in clear. :8080 is every address of the machine."`
	GRPC         string        `name:"grpc" default:"localhost:9090" help:"Address to serve native gRPC on, in clear. :9090 is every address of the machine."`
	DrainDelay   time.Duration `default:"5s" help:"How long a gateway that is told to stop serves on, so that load balancers see that it is not ready: 0s to 5m."`
	CacheAddress []string      `default:"localhost:9091" help:"Address of the cache service: HOST:PORT, all addresses of HOST are used; or several with commas between."`
	StoreAddress []string      `default:"localhost:9092" help:"Address of the store service: HOST:PORT, all addresses of HOST are used; or several with commas between."`
	serviceSettings
	edgeSettings
	tokenSettings
	logSettings

	config     gatewayservice.Config   // set by resolve, as what follows
	credential authn.ServiceCredential // for caches and stores
}

func (c *gateway) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	c.config = c.gatewayConfig(c.tokenSettings, problems)
	c.config.DrainDelay = c.DrainDelay
	c.credential = authn.ServiceCredential{Role: authn.PeerGateway, Token: c.serviceToken(problems)}
	if c.DrainDelay < 0 || c.DrainDelay > 5*time.Minute {
		problems.add(fmt.Errorf("--drain-delay is %v, not 0s to 5m", c.DrainDelay))
	}
	problems.add(authn.ValidateNames(c.Issuer, c.Audience), checkListen("--http", c.HTTP), checkListen("--grpc", c.GRPC),
		checkTargets("--cache-address", c.CacheAddress), checkTargets("--store-address", c.StoreAddress))
}

func (c *gateway) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	var listeners listeners
	http, native := listeners.open(ctx, c.HTTP, "--http"), listeners.open(ctx, c.GRPC, "--grpc")
	if listeners.err != nil {
		return listeners.err
	}
	toCache, err := grpcx.DialAddresses(c.CacheAddress, c.credential)
	if err != nil {
		return err
	}
	defer closeConn(toCache)
	toStore, err := dialStore(c.StoreAddress, c.credential)
	if err != nil {
		return err
	}
	defer closeConn(toStore)
	service, err := gatewayservice.New(ctx, c.config, gatewayservice.Upstreams{Cache: toCache, Store: toStore},
		log.With("service", "gateway"))
	if err != nil {
		return err
	}
	return service.Run(ctx, http, native)
}
