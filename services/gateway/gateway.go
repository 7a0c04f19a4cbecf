// Package gateway is the front controller: the one service that clients talk to. It terminates HTTP and gRPC,
// authenticates with public keys only, and passes every call on to the service that answers it. It has no private key,
// no database, and no code that knows one RPC from another.
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

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/netlimit"
)

// Config is what the gateway has to know.
type Config struct {
	Issuer         string         // `iss` that tokens must have
	Audience       string         // `aud` that tokens must have
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	DrainDelay     time.Duration  // for how long all is served, and health says that it ends, before it does
	Reflection     bool           // whether native gRPC has server reflection, which anybody may use
	Introspection  IntrospectionClient
}

// Upstreams are the connections to the services behind the gateway.
type Upstreams struct {
	Cache grpc.ClientConnInterface
	Store grpc.ClientConnInterface
}

// Service is a gateway that is ready to run.
type Service struct {
	rest   *restServer
	grpc   *grpcServer
	health *health
	keys   *authn.KeySet
	delay  time.Duration
	limits netlimit.Limits // of the connections to each port
	log    *slog.Logger
}

// New makes a gateway. It fails if a method of the contract has no policy.
func New(ctx context.Context, config Config, upstreams Upstreams, log *slog.Logger) (*Service, error) {
	err := errors.Join(authn.ValidateNames(config.Issuer, config.Audience), config.Introspection.Validate())
	if err != nil {
		return nil, err
	}
	upstreamLog := newUpstreamLog(log)
	routes := newRoutes(newFallback(upstreams, upstreamLog), upstreams.Store)
	policies, err := authn.LoadPolicies(routes.services()...)
	if err != nil {
		return nil, err
	}
	methods, err := loadMethods(routes.services())
	if err != nil {
		return nil, err
	}
	check := authn.NewIssuerCheck(config.Issuer, config.Audience, time.Now, log)
	fetch := check.FetchKeys(upstreams.Store)
	keys := authn.NewKeySet(func(ctx context.Context) (set *gatehousev1.ListKeysResponse, err error) {
		defer grpcx.Recover(&err)
		return fetch(ctx)
	}, time.Now)
	edge := &edge{
		routes: routes, methods: methods,
		authenticator: authn.NewAuthenticator(policies,
			authn.NewVerifier(keys, config.Issuer, config.Audience, time.Now), nil),
		throttle: newThrottle(time.Now), budget: newRequestBudget(), answers: newAnswerBudget(),
		calls: newCalls(),
	}
	health := newHealth(routes, upstreams, check, upstreamLog)
	rest, err := newRESTServer(ctx, config, edge, health, log)
	if err != nil {
		return nil, err
	}
	var reflected *reflection
	if config.Reflection {
		if reflected, err = newReflection(routes.services()); err != nil {
			return nil, err
		}
	}
	return &Service{
		rest: rest, grpc: newGRPCServer(edge, health, reflected, config.TrustedProxies, log), health: health,
		keys:  keys,
		delay: config.DrainDelay, limits: connectionLimits(config.TrustedProxies), log: log,
	}, nil
}

// Run serves REST and gRPC until ctx is done. Then health turns NOT_SERVING, and for Config.DrainDelay all is served as
// before, but HTTP connections end with their next answer: who balances the load, or keeps connections, goes elsewhere
// before anything is refused. Then the listeners are closed, and calls under way get deadlines.Drain to end. If one
// server ends by itself, the other is stopped. Run returns the errors of both.
func (s *Service) Run(ctx context.Context, http, native net.Listener) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	var restErr, grpcErr error
	running.Go(func() { s.health.readiness.run(serving) })
	running.Go(func() { s.keys.Run(serving) })
	running.Go(func() {
		defer stop()
		restErr = s.rest.run(serving, netlimit.New(http, s.limits, s.log))
	})
	running.Go(func() {
		defer stop()
		grpcErr = s.grpc.run(serving, netlimit.New(native, s.limits, s.log))
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
	s.health.draining.Store(true)
	delay := time.NewTimer(s.delay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-serving.Done():
	}
}
