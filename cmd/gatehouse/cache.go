package main

import (
	"context"
	"io"
	"log/slog"
	"net"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	cacheservice "github.com/gatehouse-auth/gatehouse/services/cache"
)

// cache runs the cache service on Redis.
type cache struct {
	Listen       string   `default:"localhost:9091" help:"Address to serve gRPC on, for gateways, in clear. :9091 is every address of the machine."`
	StoreAddress []string `default:"localhost:9092" help:"Address of the store service: HOST:PORT, all addresses of HOST are used; or several with commas between."`
	redisSettings
	serviceSettings
	secondServiceSettings
	tokenSettings
	metricsSettings
	logSettings

	config cacheservice.Config // set by resolve
}

func (c *cache) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	c.metricsSettings.resolve(problems)
	c.config = c.cacheConfig(c.tokenSettings, problems)
	c.config.ServiceToken = c.serviceToken(problems)
	c.config.SecondServiceToken = c.secondServiceToken(problems)
	problems.add(c.config.ValidateSettings(), checkListen("--listen", c.Listen),
		checkTargets("--store-address", c.StoreAddress))
}

func (c *cache) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	credential := authn.ServiceCredential{Role: authn.PeerCache, Token: c.config.ServiceToken}
	toStore, err := dialStore(c.StoreAddress, credential)
	if err != nil {
		return err
	}
	defer closeConn(toStore)
	var listeners listeners
	listener := listeners.open(ctx, c.Listen, "--listen")
	var metrics net.Listener
	if c.Metrics != "" {
		metrics = listeners.open(ctx, c.Metrics, "--metrics")
	}
	if listeners.err != nil {
		return listeners.err
	}
	registry := newMetrics(c.stderr)
	c.config.Metrics = registry
	service, err := cacheservice.New(c.config, toStore, log.With("service", "cache"))
	if err != nil {
		return err
	}
	serve := func(ctx context.Context) error { return service.Run(ctx, listener) }
	if metrics == nil {
		return serve(ctx)
	}
	return runStacked(ctx, serve, func(ctx context.Context) error { return serveMetrics(ctx, registry, metrics) })
}
