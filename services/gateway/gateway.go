// Package gateway is the front controller: the one service that clients talk to. It terminates HTTP and gRPC,
// authenticates with public keys only, and forwards every call to the service that serves it. It has no private key, no
// database, and no code that distinguishes one RPC from another.
//
// This package wires its layers, each of which imports only those below it:
//
//	rest, grpcproxy        the two ports; docs, oauth and reply are parts of the port for HTTP
//	ops                    health and readiness
//	edge                   which call is admitted, where it goes, what one client may use
//	upstream               the connection to the cache service, and past it to the store
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/netlimit"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/grpcproxy"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/oauth"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/ops"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/rest"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/upstream"
)

// Config is the configuration of a gateway.
type Config struct {
	Issuer         string         // `iss` that tokens must have
	Audience       string         // `aud` that tokens must have
	TrustedProxies []netip.Prefix // proxies whose X-Forwarded-For is trusted
	DrainDelay     time.Duration  // how long the gateway serves after health has turned NOT_SERVING
	Reflection     bool           // whether native gRPC has server reflection, which is public
	Introspection  IntrospectionClient
}

// IntrospectionClient is the client that may introspect tokens. The zero value means that introspection is off.
type IntrospectionClient = oauth.Client

// Upstreams are the connections to the services behind the gateway.
type Upstreams struct {
	Cache grpc.ClientConnInterface
	Store grpc.ClientConnInterface
}

// Service is a gateway that is ready to run.
type Service struct {
	edge   *edge.Edge
	rest   *rest.Server
	grpc   *grpcproxy.Server
	health *ops.Health
	keys   *authn.KeySet
	delay  time.Duration
	limits netlimit.Limits // of the connections to each port
	log    *slog.Logger
}

// New returns a gateway. It reports an error if the configuration is invalid, or if a method of the contract has no
// policy.
func New(ctx context.Context, config Config, upstreams Upstreams, log *slog.Logger) (*Service, error) {
	err := errors.Join(authn.ValidateNames(config.Issuer, config.Audience), config.Introspection.Validate())
	if err != nil {
		return nil, err
	}
	upstreamLog := upstream.NewLog(log)
	services := edge.Services(upstream.NewFallback(upstreams.Cache, upstreams.Store, upstreamLog), upstreams.Store)
	check := authn.NewIssuerCheck(config.Issuer, config.Audience, time.Now, log)
	keys := grpcx.NewKeySet(check, upstreams.Store)
	front, err := edge.New(services, authn.NewVerifier(keys, config.Issuer, config.Audience, time.Now))
	if err != nil {
		return nil, err
	}
	health := ops.NewHealth(services, upstreams.Cache, upstreams.Store, check, upstreamLog)
	pages, err := oauth.Pages(config.Issuer, config.Introspection, front)
	if err != nil {
		return nil, err
	}
	httpServer, err := rest.New(ctx, rest.Config{TrustedProxies: config.TrustedProxies, Pages: pages}, front, health, log)
	if err != nil {
		return nil, err
	}
	var reflection *grpcproxy.Reflection
	if config.Reflection {
		if reflection, err = grpcproxy.NewReflection(services); err != nil {
			return nil, err
		}
	}
	return &Service{
		edge: front, rest: httpServer, grpc: grpcproxy.New(front, health, reflection, config.TrustedProxies, log),
		health: health, keys: keys,
		delay: config.DrainDelay, limits: connectionLimits(config.TrustedProxies), log: log,
	}, nil
}

// Run serves REST and gRPC until ctx is done. Then health turns NOT_SERVING, and for Config.DrainDelay the gateway
// serves as before, but HTTP connections end with their next answer: load balancers, and clients with connections, move
// elsewhere before anything is refused. Then the listeners are closed, and calls under way have deadlines.Drain to
// end. If one server ends by itself, the other is stopped. Run returns the errors of both.
func (s *Service) Run(ctx context.Context, http, native net.Listener) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	var restErr, grpcErr error
	running.Go(func() { s.health.Readiness.Run(serving) })
	running.Go(func() { s.keys.Run(serving) })
	running.Go(func() {
		defer stop()
		restErr = s.rest.Run(serving, netlimit.New(http, s.limits, s.log))
	})
	running.Go(func() {
		defer stop()
		grpcErr = s.grpc.Run(serving, netlimit.New(native, s.limits, s.log))
	})
	s.drain(ctx, serving)
	stop()
	running.Wait()
	if err := errors.Join(restErr, grpcErr); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// drain waits until ctx is done and Config.DrainDelay is over, or until a server has ended.
func (s *Service) drain(ctx, serving context.Context) {
	select {
	case <-ctx.Done():
	case <-serving.Done():
		return
	}
	s.health.SetDraining(true)
	delay := time.NewTimer(s.delay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-serving.Done():
	}
}
