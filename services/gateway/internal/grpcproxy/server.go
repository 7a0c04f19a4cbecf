// Package grpcproxy serves the port for native gRPC: it forwards the frames of clients through the edge, and limits the
// streams of their connections.
package grpcproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/ops"
)

// maxServiceRequest bounds what grpc-go reads for the services that it serves itself, health and reflection, in bytes.
const maxServiceRequest = 4 << 10

// streamWindow is how much of a call is buffered before the handler reads it, in bytes: the minimum of grpc-go.
const streamWindow = 64 << 10

// connBuffer is the read buffer of a connection, in bytes. An idle connection has one as well.
const connBuffer = 8 << 10

// Server serves native gRPC clients. It forwards frames without decoding them.
type Server struct {
	GRPC       *grpc.Server
	Streams    *StreamLimits
	Reflection *Reflection // nil if reflection is off

	edge    *edge.Edge
	health  *ops.Health
	proxies edge.TrustedProxies
	log     *slog.Logger
}

// New returns a server. If reflection is nil, the server does not have it.
func New(
	front *edge.Edge, health *ops.Health, reflection *Reflection, proxies edge.TrustedProxies, log *slog.Logger,
) *Server {
	s := &Server{
		Streams: newStreamLimits(proxies, log), Reflection: reflection,
		edge: front, health: health, proxies: proxies, log: log,
	}
	s.GRPC = grpc.NewServer(append(grpcx.Limits(),
		grpc.Creds(limitedCredentials{insecure.NewCredentials(), s.Streams}),
		grpc.MaxConcurrentStreams(edge.MaxStreams),
		grpc.MaxHeaderListSize(edge.MaxHeaderRead),
		grpc.ChainUnaryInterceptor(s.limitCall),
		grpc.ChainStreamInterceptor(s.limitStream),
		grpc.MaxRecvMsgSize(maxServiceRequest),
		grpc.InitialWindowSize(streamWindow), // It does not grow with the network's capacity.
		grpc.ReadBufferSize(connBuffer),
		grpc.ForceServerCodecV2(edge.FrameCodec{CodecV2: encoding.GetCodecV2(proto.Name)}),
		grpc.UnknownServiceHandler(s.handle),
	)...)
	healthpb.RegisterHealthServer(s.GRPC, watchExempt{health})
	if reflection != nil {
		reflectionpb.RegisterServerReflectionServer(s.GRPC, reflection)
		registerAlphaReflection(s.GRPC, reflection)
	}
	return s
}

// watchExempt is the health service, whose Watch may be open for as long as the client likes.
type watchExempt struct{ *ops.Health }

// Watch implements grpc.health.v1.
func (h watchExempt) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	undo, ok := exemptStream(stream.Context())
	if !ok {
		return status.Error(codes.Unimplemented, "streams are not supported by this gateway")
	}
	defer undo()
	return h.Health.Watch(req, stream) //nolint:wrapcheck // A status.
}

// Run serves until ctx is done, then lets calls under way end.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	s.log.InfoContext(ctx, "serving gRPC", "address", listener.Addr().String())
	return grpcx.ServeUntil(ctx, s.GRPC, listener, s.health.StopWatches)
}

// handle serves one call of any method.
func (s *Server) handle(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	method, _ := grpc.MethodFromServerStream(stream)
	began := time.Now()
	err := s.forward(ctx, method, stream)
	grpcx.LogCall(ctx, s.log, slog.LevelInfo, s.edge.LoggedName(method), time.Since(began), err)
	return apierr.Status(err).Err()
}

func (s *Server) forward(ctx context.Context, name string, stream grpc.ServerStream) (err error) {
	defer grpcx.Recover(&err)
	ctx, method, err := s.edge.Admit(ctx, name)
	if err != nil {
		return err
	}
	reservation := s.edge.Requests.NewReservation(edge.ClientKey(ctx))
	defer reservation.Release()
	receiver, err := newReceiver(ctx, method.MaxRequestSize, reservation)
	if err != nil {
		return err
	}
	request, err := receiver.receive()
	if err != nil {
		return abandoned(ctx, err)
	}
	var response edge.Frame
	if err := s.edge.Invoke(ctx, name, &request, &response, grpc.ForceCodecV2(edge.FrameCodec{})); err != nil {
		return err
	}
	release, err := s.edge.Answers.Reserve(ctx, name, len(response))
	if err != nil {
		return err
	}
	afterAnswer(ctx, release)
	return sendError(stream.SendMsg(&response))
}

// abandoned returns CANCELLED or DEADLINE_EXCEEDED for a call that its client has ended, whatever error grpc-go reports
// for the incomplete message. Otherwise it returns err.
func abandoned(ctx context.Context, err error) error {
	switch ended := ctx.Err(); {
	case ended == nil:
		return err
	case errors.Is(ended, context.DeadlineExceeded):
		return apierr.DeadlineExceeded(err)
	default:
		return apierr.Cancelled(err)
	}
}

// sendError returns the error of a response that is too large, and CANCELLED for any other error: the client has reset
// the stream, closed the connection, or set limits that no response meets (SETTINGS_MAX_HEADER_LIST_SIZE). It returns
// nil for nil.
func sendError(err error) error {
	if err == nil || status.Code(err) == codes.ResourceExhausted {
		return err
	}
	return apierr.Cancelled(err)
}
