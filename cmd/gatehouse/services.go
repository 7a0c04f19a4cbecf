package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	cacheservice "github.com/gatehouse-auth/gatehouse/services/cache"
	gatewayservice "github.com/gatehouse-auth/gatehouse/services/gateway"
	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// gateway runs the gateway.
type gateway struct {
	HTTP         string        `name:"http" default:"localhost:8080" help:"Address to serve REST, Swagger UI, the OpenAPI document and health on, in clear. :8080 is every address of the machine."`
	GRPC         string        `name:"grpc" default:"localhost:9090" help:"Address to serve native gRPC on, in clear. :9090 is every address of the machine."`
	DrainDelay   time.Duration `default:"5s" help:"How long a gateway that is told to stop serves on, so that who balances the load sees that it is not ready: 0s to 5m."`
	CacheAddress []string      `default:"localhost:9091" help:"Address of the cache service: HOST:PORT, all addresses of HOST are used; or several with commas between."`
	StoreAddress []string      `default:"localhost:9092" help:"Address of the store service: HOST:PORT, all addresses of HOST are used; or several with commas between."`
	serviceSettings
	edgeSettings
	tokenSettings
	logSettings
}

func (c *gateway) faults() error {
	_, configErr := c.gatewayConfig(c.tokenSettings)
	token, tokenErr := c.serviceToken()
	if tokenErr == nil {
		tokenErr = authn.ValidateServiceToken(token)
	}
	if c.DrainDelay < 0 || c.DrainDelay > 5*time.Minute {
		configErr = errors.Join(configErr, fmt.Errorf("--drain-delay is %v, not 0s to 5m", c.DrainDelay))
	}
	return errors.Join(c.logSettings.faults(), configErr, tokenErr, authn.ValidateNames(c.Issuer, c.Audience),
		checkListen("--http", c.HTTP), checkListen("--grpc", c.GRPC),
		checkTargets("--cache-address", c.CacheAddress), checkTargets("--store-address", c.StoreAddress))
}

func (c *gateway) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	var listeners listeners
	http, native := listeners.open(ctx, c.HTTP, "--http"), listeners.open(ctx, c.GRPC, "--grpc")
	token, err := c.serviceToken()
	if err != nil {
		return err
	}
	credential := authn.ServiceCredential{Role: authn.PeerGateway, Token: token}
	toCache, err := grpcx.DialAddresses(c.CacheAddress, credential)
	if err != nil {
		return err
	}
	defer closeConn(toCache)
	toStore, err := dialStore(c.StoreAddress, credential)
	if err != nil {
		return err
	}
	defer closeConn(toStore)
	if listeners.err != nil {
		return listeners.err
	}
	config, err := c.gatewayConfig(c.tokenSettings)
	if err != nil {
		return err
	}
	config.DrainDelay = c.DrainDelay
	service, err := gatewayservice.New(ctx, config, gatewayservice.Upstreams{Cache: toCache, Store: toStore},
		log.With("service", "gateway"))
	if err != nil {
		return err
	}
	return service.Run(ctx, http, native)
}

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
}

func (c *cache) config() (cacheservice.Config, error) {
	config, err := c.redisSettings.config(c.tokenSettings)
	token, tokenErr := c.serviceToken()
	secondToken, secondErr := c.secondServiceToken()
	config.ServiceToken, config.SecondServiceToken = token, secondToken
	return config, errors.Join(err, tokenErr, secondErr)
}

func (c *cache) faults() error {
	config, err := c.config()
	if err != nil {
		// What is missing is named already; stand-ins keep Validate from naming it again.
		if config.Key == nil {
			config.Key = make([]byte, cacheservice.KeySize)
		}
		if config.ServiceToken == "" {
			config.ServiceToken = strings.Repeat("-", authn.MinServiceToken)
		}
	}
	return errors.Join(c.logSettings.faults(), c.metricsSettings.faults(), err, config.Validate(),
		checkListen("--listen", c.Listen), checkTargets("--store-address", c.StoreAddress))
}

func (c *cache) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	toStore, err := dialStore(c.StoreAddress, authn.ServiceCredential{Role: authn.PeerCache, Token: config.ServiceToken})
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
	config.Metrics = registry
	service, err := cacheservice.New(config, toStore, log.With("service", "cache"))
	if err != nil {
		return err
	}
	serve := func(ctx context.Context) error { return service.Run(ctx, listener) }
	if metrics == nil {
		return serve(ctx)
	}
	return runStacked(ctx, serve, func(ctx context.Context) error { return serveMetrics(ctx, registry, metrics) })
}

// store runs the store service on MySQL or MariaDB.
type store struct {
	Listen string `default:"localhost:9092" help:"Address to serve gRPC on, for gateways and caches, in clear. :9092 is every address of the machine."`
	databaseSettings
	masterKeySettings
	serviceSettings
	secondServiceSettings
	signingSettings
	sessionSettings
	accountSettings
	tokenSettings
	logSettings
}

func (c *store) config() (storeconfig.Config, error) {
	database, databaseErr := c.database()
	masterKey, masterKeyErr := c.masterKey()
	if masterKey == nil && masterKeyErr == nil {
		masterKeyErr = errNoMasterKey
	}
	second, secondErr := c.secondMasterKey()
	token, tokenErr := c.serviceToken()
	secondToken, secondTokenErr := c.secondServiceToken()
	return storeconfig.Config{
		Database: database, MasterKey: masterKey, SecondMasterKey: second, ServiceToken: token,
		SecondServiceToken: secondToken, Issuer: c.Issuer, Audience: c.Audience,
		SigningAlgorithm: c.SigningAlgorithm, KeyRotationInterval: c.KeyRotationInterval,
		AccessTokenLifetime: c.AccessTokenLifetime, Sessions: c.sessions(), Password: c.password(),
		AppMetadataClaims: c.AppMetadataClaims, AuditRetention: c.AuditRetention, OwnChangesPerMinute: c.OwnChanges,
	}, errors.Join(databaseErr, masterKeyErr, secondErr, tokenErr, secondTokenErr)
}

func (c *store) faults() error {
	config, err := c.config()
	if err != nil {
		// What is missing is named already; stand-ins keep Validate from naming it again.
		if config.ServiceToken == "" {
			config.ServiceToken = strings.Repeat("-", authn.MinServiceToken)
		}
		if config.MasterKey == nil {
			config.MasterKey = make([]byte, storeconfig.MasterKeySize)
		}
		if config.Database.URL == "" {
			config.Database.URL = "sqlite:missing"
		}
	}
	return errors.Join(c.logSettings.faults(), checkListen("--listen", c.Listen), err, config.Validate())
}

func (c *store) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	cores, undo := leaveRoom()
	defer undo()
	config.HashingCores = cores
	service, err := storeservice.New(ctx, config, log.With("service", "store"))
	if errors.Is(err, context.Canceled) {
		return nil // It was told to stop while it waited for the database.
	}
	if err != nil {
		return err
	}
	var listeners listeners
	listener := listeners.open(ctx, c.Listen, "--listen") // Not before anybody is there to serve.
	if listeners.err != nil {
		return listeners.err
	}
	return service.Run(ctx, listener)
}

// migrate brings the schema up to date.
type migrate struct {
	databaseSettings
	logSettings
}

func (c *migrate) faults() error {
	return errors.Join(c.logSettings.faults(), c.databaseFaults())
}

func (c *migrate) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	database, err := c.database()
	if err != nil {
		return err
	}
	return operator.Migrate(ctx, database, log)
}

// health asks a service for its health over grpc.health.v1: for container health checks where there is no shell.
type health struct {
	Address string `default:"localhost:9090" help:"Address of the gRPC port of the service: HOST:PORT."`
	logSettings
}

func (c *health) faults() error {
	return errors.Join(c.logSettings.faults(), checkTarget("--address", c.Address))
}

func (c *health) run(ctx context.Context, _ *slog.Logger, stdout io.Writer) error {
	conn, err := grpcx.DialAddresses([]string{c.Address}, authn.ServiceCredential{})
	if err != nil {
		return err
	}
	defer closeConn(conn)
	response, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("ask %s for its health: %w", c.Address, err)
	}
	if response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s is %s", c.Address, response.GetStatus())
	}
	_, err = fmt.Fprintln(stdout, response.GetStatus())
	return err
}

// listeners opens several and keeps what failed.
type listeners struct {
	err error
}

func (l *listeners) open(ctx context.Context, address, flag string) net.Listener {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		l.err = errors.Join(l.err, fmt.Errorf("%s: %w", flag, err))
		return nil
	}
	return listener
}

// dialStore returns a connection to stores that retries: it is the last hop of each call, and the only one that does.
func dialStore(addresses []string, credential authn.ServiceCredential) (*grpc.ClientConn, error) {
	return grpcx.DialAddresses(addresses, credential, grpcx.WithRetry()...)
}

// checkListen wants [HOST]:PORT, to listen on.
func checkListen(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s is %q, not [HOST]:PORT", flag, address)
	}
	return nil
}

// checkTargets wants one or more HOST:PORT, to connect to.
func checkTargets(flag string, addresses []string) error {
	if len(addresses) == 0 {
		return checkTarget(flag, "")
	}
	faults := make([]error, 0, len(addresses))
	for _, address := range addresses {
		faults = append(faults, checkTarget(flag, address))
	}
	return errors.Join(faults...)
}

// checkTarget wants HOST:PORT, to connect to.
func checkTarget(flag, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || port == "0" || strings.ContainsAny(host, " /") {
		return fmt.Errorf("%s is %q, not HOST:PORT", flag, address)
	}
	return nil
}

func closeConn(conn *grpc.ClientConn) {
	_ = conn.Close() // It fails only where it was closed before.
}
