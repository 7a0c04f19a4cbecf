package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/logging"
	cacheservice "github.com/gatehouse-auth/gatehouse/services/cache"
	gatewayservice "github.com/gatehouse-auth/gatehouse/services/gateway"
	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// inProcessBuffer bounds the bytes in transit between two services in one process.
const inProcessBuffer = 256 << 10

// up runs all three services in this process.
type up struct {
	HTTP string `name:"http" default:"localhost:8080" help:"Address to serve REST, Swagger UI, the OpenAPI document and health on, in clear. :8080 is every address of the machine."`
	GRPC string `name:"grpc" default:"localhost:9090" help:"Address to serve native gRPC on, in clear. :9090 is every address of the machine."`
	Data string `default:"./gatehouse-data" help:"Folder for the database and the master key. It is made if it is not there."`
	masterKeySettings
	storeSettings
	edgeSettings
	logSettings

	// The configurations of the services are set by resolve. The data folder completes that of the store.
	configs struct {
		store   storeconfig.Config
		cache   cacheservice.Config
		gateway gatewayservice.Config
	}
}

func (c *up) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	problems.add(checkListen("--http", c.HTTP), checkListen("--grpc", c.GRPC))
	token := rand.Text() + rand.Text() // The services live no longer than this process.
	c.configs.store = c.storeConfig(problems)
	c.configs.store.Database.URL = "sqlite:" + dataFolder(c.Data).database()
	c.configs.store.MasterKey, c.configs.store.SecondMasterKey = c.masterKeys(problems)
	c.configs.store.ServiceToken = token
	c.configs.cache = cacheservice.Config{
		Backend: cacheservice.BackendMemory, TTL: cacheservice.DefaultTTL, ServiceToken: token,
		Issuer: c.Issuer, Audience: c.Audience,
	}
	c.configs.gateway = c.gatewayConfig(c.tokenSettings, problems)
}

func (c *up) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	var listeners listeners
	http, native := listeners.open(ctx, c.HTTP, "--http"), listeners.open(ctx, c.GRPC, "--grpc")
	if listeners.err != nil {
		return listeners.err
	}
	unlock, err := dataFolder(c.Data).lock()
	if err != nil {
		return err
	}
	defer unlock()
	cores, undo := reserveCores()
	defer undo()
	store, err := c.openStore(ctx, cores, log)
	if err != nil {
		return err
	}
	storeLink, cacheLink := bufconn.Listen(inProcessBuffer), bufconn.Listen(inProcessBuffer)
	serviceToken := c.configs.store.ServiceToken
	cacheToStore, err := dialInProcess(storeLink, authn.ServiceCredential{Role: authn.PeerCache, Token: serviceToken})
	if err != nil {
		return err
	}
	defer closeConn(cacheToStore)
	upstreams, closeUpstreams, err := dialUpstreams(storeLink, cacheLink, serviceToken)
	if err != nil {
		return err
	}
	defer closeUpstreams()
	cache, err := cacheservice.New(c.configs.cache, cacheToStore, log.With("service", "cache"))
	if err != nil {
		return err
	}
	if c.Reflection == reflectionAuto {
		c.configs.gateway.Reflection = isLoopback(native.Addr())
	}
	gateway, err := gatewayservice.New(ctx, c.configs.gateway, upstreams, log.With("service", "gateway"))
	if err != nil {
		return err
	}
	warnOfClearText(ctx, log, http.Addr(), native.Addr())
	banner := logging.NewWriter(stdout) // Nobody need read it.
	defer banner.Close()
	welcome(banner, http.Addr(), native.Addr(), c.Data)
	return runStacked(ctx,
		func(ctx context.Context) error { return gateway.Run(ctx, http, native) },
		func(ctx context.Context) error { return cache.Run(ctx, cacheLink) },
		func(ctx context.Context) error { return store.Run(ctx, storeLink) },
	)
}

// openStore opens the database in the data folder, and applies missing migrations first.
func (c *up) openStore(ctx context.Context, cores int, log *slog.Logger) (*storeservice.Service, error) {
	config := c.configs.store
	config.HashingCores = cores
	if config.MasterKey != nil {
		log.WarnContext(ctx, "using the master key of the settings, not that of the data folder")
	} else {
		var err error
		if config.MasterKey, err = dataFolder(c.Data).loadMasterKey(); err != nil {
			return nil, err
		}
	}
	if err := operator.Migrate(ctx, config.Database, log); err != nil {
		return nil, err
	}
	return storeservice.New(ctx, config, log.With("service", "store"))
}

func dialInProcess(listener *bufconn.Listener, credential authn.ServiceCredential) (*grpc.ClientConn, error) {
	return grpcx.Dial("passthrough:///in-process", credential, grpcx.InProcess(listener))
}

// dialUpstreams returns the connections of the gateway, and a function that closes them.
func dialUpstreams(
	storeLink, cacheLink *bufconn.Listener, serviceToken string,
) (upstreams gatewayservice.Upstreams, closeAll func(), err error) {
	credential := authn.ServiceCredential{Role: authn.PeerGateway, Token: serviceToken}
	toStore, err := dialInProcess(storeLink, credential)
	if err != nil {
		return upstreams, nil, err
	}
	toCache, err := dialInProcess(cacheLink, credential)
	if err != nil {
		closeConn(toStore)
		return upstreams, nil, err
	}
	closeAll = func() {
		closeConn(toCache)
		closeConn(toStore)
	}
	return gatewayservice.Upstreams{Cache: toCache, Store: toStore}, closeAll, nil
}

// runStacked runs services of which each uses those after it, until ctx is done or one of them fails. Then it stops
// them in that order, so that each service runs until the last call to it has ended. It returns all errors, joined.
func runStacked(ctx context.Context, services ...func(context.Context) error) error {
	ctx, fail := context.WithCancel(ctx)
	defer fail()
	var running sync.WaitGroup
	errs := make([]error, len(services))
	previous := ctx // done when the service before has ended
	for i, run := range services {
		serving, stop := context.WithCancel(context.WithoutCancel(ctx))
		context.AfterFunc(previous, stop)
		ended, end := context.WithCancel(context.WithoutCancel(ctx))
		running.Go(func() {
			defer end()
			if errs[i] = run(serving); errs[i] != nil {
				fail()
			}
		})
		previous = ended //nolint:fatcontext // a chain of signals is what is meant
	}
	running.Wait()
	return errors.Join(errs...)
}

// welcome prints a newcomer what is where, and a first thing to try.
func welcome(w *logging.Writer, http, native net.Addr, data string) {
	base := "http://" + dialable(http)
	_, _ = fmt.Fprintf(w, `Gatehouse is up. Data is in %s; Ctrl-C stops it.

  Swagger UI   %s/docs/
  REST         %s/v1/…
  gRPC         %s

%sSign up:
  curl %s/v1/users -H 'Content-Type: application/json' \
    -d '{"email":"ada@example.com","fullName":"Ada Lovelace","password":"correct horse battery staple"}'

`, data, base, base, dialable(native), howToOpen(http, native), base)
}

// howToOpen returns a paragraph on how others can be let in, where nobody else can connect.
func howToOpen(http, native net.Addr) string {
	if !isLoopback(http) || !isLoopback(native) {
		return ""
	}
	return `Only this machine can connect. To let others in, behind a proxy that has TLS:
  gatehouse up --http :8080 --grpc :9090

`
}

// warnOfClearText writes one warning if others than this machine can connect: passwords and tokens would travel in
// clear.
func warnOfClearText(ctx context.Context, log *slog.Logger, addresses ...net.Addr) {
	var open []string
	for _, address := range addresses {
		if !isLoopback(address) {
			open = append(open, address.String())
		}
	}
	if len(open) > 0 {
		log.WarnContext(ctx, "serving without TLS on addresses that others can reach; put a TLS proxy before them",
			"addresses", open)
	}
}

// isLoopback reports whether only this machine can connect to the address.
func isLoopback(address net.Addr) bool {
	host, _, err := net.SplitHostPort(address.String())
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// dialable returns the address that a client on this machine uses.
func dialable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err != nil || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
