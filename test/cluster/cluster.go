package cluster

import (
	"cmp"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// Cluster is a running Gatehouse.
type Cluster struct {
	*Infra // nil on embedded parts

	Stores, Caches, Gateways []*Service // of `up`, its process is the gateway

	data string // folder of `up`
}

// Config configures the services of a cluster.
type Config struct {
	Program      string
	CacheProgram string // another program for the caches; "" is Program
	Replicas     int    // of each service; 0 is 1

	// Arguments of the services of a kind.
	StoreArgs, CacheArgs, GatewayArgs []string

	// Route returns how a replica of a service reaches another, which has these addresses: by default its own one, the
	// one with the same number. The link is a name such as "cache→store".
	Route func(link string, replica int, addresses []string) string

	// DatabaseURL and RedisURL return the URLs that a replica uses. By default they are those of the servers.
	DatabaseURL, RedisURL func(replica int) string
}

// Own is the default of Config.Route.
func Own(_ string, replica int, addresses []string) string { return addresses[replica] }

// Start runs stores, caches and gateways until the test ends, and waits until every gateway is ready.
func Start(tb testing.TB, infra *Infra, config Config) *Cluster {
	tb.Helper()
	if config.Route == nil {
		config.Route = Own
	}
	if config.DatabaseURL == nil {
		config.DatabaseURL = func(int) string { return infra.DatabaseURL() }
	}
	if config.RedisURL == nil {
		config.RedisURL = func(int) string { return infra.Redis.URL() }
	}
	c := &Cluster{Infra: infra}
	replicas := max(config.Replicas, 1)
	for i := range replicas {
		c.Stores = append(c.Stores, StartService(tb, config.Program, "store", infra.StoreEnv(config.DatabaseURL(i)),
			config.StoreArgs...))
	}
	stores := addresses(c.Stores)
	for i := range replicas {
		c.Caches = append(c.Caches, StartService(tb, cmp.Or(config.CacheProgram, config.Program), "cache",
			infra.CacheEnv(config.RedisURL(i)),
			append([]string{"--store-address", config.Route("cache→store", i, stores)}, config.CacheArgs...)...))
	}
	for i := range replicas {
		c.Gateways = append(c.Gateways, StartService(tb, config.Program, "gateway", infra.GatewayEnv(), append([]string{
			"--cache-address", config.Route("gateway→cache", i, addresses(c.Caches)),
			"--store-address", config.Route("gateway→store", i, stores),
		}, config.GatewayArgs...)...))
	}
	c.AwaitReady(tb)
	return c
}

// StartUp runs `gatehouse up` on a data folder until the test ends, and waits until it is ready.
func StartUp(tb testing.TB, program, data string, args ...string) *Cluster {
	tb.Helper()
	up := StartService(tb, program, "up", nil, append([]string{"--data", data}, args...)...)
	c := &Cluster{Gateways: []*Service{up}, data: data}
	c.AwaitReady(tb)
	return c
}

// DatabaseURL returns the URL of the database, for commands.
func (c *Cluster) DatabaseURL() string {
	if c.Infra == nil {
		return "sqlite:" + filepath.Join(c.data, "gatehouse.db")
	}
	return c.Infra.DatabaseURL()
}

// AwaitReady waits until every gateway is ready. The test fails at once if a service ends.
func (c *Cluster) AwaitReady(tb testing.TB) {
	tb.Helper()
	for _, gateway := range c.Gateways {
		AwaitReady(tb, gateway, c.Services()...)
	}
}

// Services returns all services in the order in which they were started.
func (c *Cluster) Services() []*Service { return slices.Concat(c.Stores, c.Caches, c.Gateways) }

// StopAll ends services with SIGTERM, the last one first. The test fails if one does not end with the exit code 0.
func StopAll(tb testing.TB, services []*Service) {
	tb.Helper()
	for _, service := range slices.Backward(services) {
		if code, err := service.Stop(); err != nil || code != 0 {
			tb.Errorf("%s ended with %d, %v\n%s", service.Command(), code, err, service.Tail())
		}
	}
}

// AwaitReady waits until a gateway is ready. The test fails at once if one of the services ends.
func AwaitReady(tb testing.TB, gateway *Service, services ...*Service) {
	tb.Helper()
	testkit.Eventually(tb, func() error {
		for _, service := range append(services, gateway) {
			if service.Ended() {
				tb.Fatalf("%s has ended:\n%s", service.Command(), service.Tail())
			}
		}
		return gateway.Ready()
	})
}

func addresses(services []*Service) []string {
	all := make([]string, 0, len(services))
	for _, service := range services {
		all = append(all, service.Address)
	}
	return all
}
