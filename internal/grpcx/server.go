// Package grpcx provides the gRPC servers and connections of all services: the same interceptors in the same order, the
// same limits, the same shutdown.
package grpcx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/netlimit"
)

const (
	// MaxMessageSize bounds a request and an answer on every hop, in bytes.
	MaxMessageSize = 1 << 20

	// maxHeaderSize bounds the metadata of a call, in bytes. It leaves room for a token of 8 KiB.
	maxHeaderSize = 16 << 10

	// maxStreams bounds the calls in progress on one connection. It is more than the 8,192 of a gateway, which may have
	// all of them on its one connection to a service: health checks must find a stream, or a service which is only slow
	// would seem to hang. A gateway's own bound for its clients is lower.
	maxStreams = 16 << 10

	// maxConnections bounds the connections to a service behind the gateway. Gateways and caches have one to each of its
	// addresses. maxPeerConnections leaves room for many of them behind one address.
	maxConnections     = 1024
	maxPeerConnections = 256

	// IdleTimeout is how long a connection may have no call. It is longer than the 600 s that Google's load balancer keeps
	// connections to its backends.
	IdleTimeout = 650 * time.Second

	// maxConnectionAge ends connections that are old.
	maxConnectionAge = 30 * time.Minute

	// MaxStreamAge is after how long a service ends a stream that would go on. The server closes an old connection only
	// after this time, so that no stream is cut.
	MaxStreamAge = 5 * time.Minute

	// connectionTimeout bounds the handshake of a new connection.
	connectionTimeout = 5 * time.Second
)

// Limits are the options that every gRPC server has, the gateway's included.
func Limits() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessageSize),
		grpc.MaxSendMsgSize(MaxMessageSize),
		grpc.MaxHeaderListSize(maxHeaderSize),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: time.Minute, Timeout: 20 * time.Second, MaxConnectionIdle: IdleTimeout,
			// A client that reconnects resolves the name again, and finds new replicas.
			MaxConnectionAge: maxConnectionAge, MaxConnectionAgeGrace: MaxStreamAge + deadlines.Drain,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

// Server is the gRPC server of a service behind the gateway, with grpc.health.v1 on it.
type Server struct {
	grpc   *grpc.Server
	health *probedHealth
	log    *slog.Logger
}

// NewServer returns a server. Its health is the result of probe: an error means that the service cannot work now. The
// probe is called once a second at most. Calls pass, in this order:
//
//  1. origin: the role of the service that sends the call, the request id and the client. The last two are taken from
//     the metadata only if the sender has a valid service credential; everything after can log the request id
//  2. access log: sees every outcome, rejections and panics included, and converts errors to statuses
//  3. recovery: converts a panic in anything below to an INTERNAL error
//  4. service credential, authentication and policy: nothing below runs for a sender that is not a service, or for a
//     caller without permission. Only the health check is open to all
//  5. validation: after 4, so that strangers learn nothing of the rules from a method that they may not call
//  6. the handler
//
// Streams pass the same. The public contract has none.
func NewServer(
	log *slog.Logger, authenticator *authn.Authenticator, probe func(context.Context) error,
) (*Server, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, err
	}
	options := append(Limits(), grpc.InTapHandle(limitStrangers(authenticator)), grpc.ChainUnaryInterceptor(
		withOrigin(authenticator),
		accessLog(log),
		recovery,
		authenticator.Interceptor(healthpb.Health_Check_FullMethodName),
		validation(validator),
	), grpc.ChainStreamInterceptor(
		withStreamOrigin(authenticator),
		streamLog(log),
		streamRecovery,
		authenticator.StreamInterceptor(healthpb.Health_Watch_FullMethodName),
		streamValidation(validator),
	))
	server := &Server{grpc: grpc.NewServer(options...), health: newProbedHealth(probe), log: log}
	healthpb.RegisterHealthServer(server.grpc, server.health)
	return server, nil
}

// RegisterService implements grpc.ServiceRegistrar.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, implementation any) {
	s.grpc.RegisterService(desc, implementation)
	s.health.SetServingStatus(desc.ServiceName, healthpb.HealthCheckResponse_SERVING)
}

// Serve serves calls until ctx is done. Then health becomes NOT_SERVING, calls in progress may end within
// deadlines.Drain, and the rest is cancelled. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	s.log.InfoContext(ctx, "serving gRPC", "address", listener.Addr().String())
	limits := netlimit.Limits{Total: maxConnections, PerClient: maxPeerConnections}.FitFiles(1)
	return ServeUntil(ctx, s.grpc, netlimit.New(listener, limits, s.log), s.health.Shutdown)
}

// ServeUntil runs a gRPC server until ctx is done, calls drain, and then stops as Server.Serve does.
func ServeUntil(ctx context.Context, server *grpc.Server, listener net.Listener, drain func()) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve gRPC on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	drain()
	cut := time.AfterFunc(deadlines.Drain, server.Stop)
	defer cut.Stop()
	server.GracefulStop()
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC on %s: %w", listener.Addr(), err)
	}
	return nil
}
