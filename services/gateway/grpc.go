package gateway

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
	"google.golang.org/grpc/mem"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// maxServiceRequest bounds what grpc-go reads for the services that it serves itself, health and reflection, in bytes.
const maxServiceRequest = 4 << 10

// streamWindow is how much of a call is buffered before anybody reads it, in bytes: the least that grpc-go has.
const streamWindow = 64 << 10

// connBuffer is what a connection reads into, in bytes. It is there also while the connection is idle.
const connBuffer = 8 << 10

// grpcServer serves native gRPC clients. It passes frames on without decoding them.
type grpcServer struct {
	edge       *edge
	health     *health
	reflection *reflection // nil if there is none
	proxies    trustedProxies
	streams    *streamLimits
	log        *slog.Logger
	grpc       *grpc.Server
}

// newGRPCServer makes a server. Without reflection, which is nil then, it has none.
func newGRPCServer(
	edge *edge, health *health, reflection *reflection, proxies trustedProxies, log *slog.Logger,
) *grpcServer {
	s := &grpcServer{
		edge: edge, health: health, reflection: reflection, proxies: proxies, streams: newStreamLimits(proxies, log),
		log: log,
	}
	s.grpc = grpc.NewServer(append(grpcx.Limits(),
		grpc.Creds(limitedCredentials{insecure.NewCredentials(), s.streams}),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderRead),
		grpc.ChainUnaryInterceptor(s.limitCall),
		grpc.ChainStreamInterceptor(s.limitStream),
		grpc.MaxRecvMsgSize(maxServiceRequest),
		grpc.InitialWindowSize(streamWindow), // And no more where the network would bear it.
		grpc.ReadBufferSize(connBuffer),
		grpc.ForceServerCodecV2(frameCodec{encoding.GetCodecV2(proto.Name)}),
		grpc.UnknownServiceHandler(s.handle),
	)...)
	healthpb.RegisterHealthServer(s.grpc, health)
	if reflection != nil {
		reflectionpb.RegisterServerReflectionServer(s.grpc, reflection)
		registerAlphaReflection(s.grpc, reflection)
	}
	return s
}

func (s *grpcServer) run(ctx context.Context, listener net.Listener) error {
	s.log.InfoContext(ctx, "serving gRPC", "address", listener.Addr().String())
	return grpcx.ServeUntil(ctx, s.grpc, listener, s.health.watches.Stop)
}

// handle serves one call of any method.
func (s *grpcServer) handle(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	method, _ := grpc.MethodFromServerStream(stream)
	began := time.Now()
	err := s.forward(ctx, method, stream)
	grpcx.LogCall(ctx, s.log, slog.LevelInfo, s.edge.loggedName(method), time.Since(began), err)
	return apierr.Status(err).Err()
}

func (s *grpcServer) forward(ctx context.Context, method string, stream grpc.ServerStream) (err error) {
	defer grpcx.Recover(&err)
	if _, _, err := s.edge.admit(ctx, method); err != nil {
		return err
	}
	reservation := s.edge.budget.newReservation(clientKey(ctx))
	defer reservation.release()
	known := s.edge.methods[method] // Otherwise it would not have been admitted.
	receiver, err := newReceiver(ctx, known.maxRequestSize, s.edge.budget, reservation)
	if err != nil {
		return err
	}
	message, err := receiver.receive()
	if err != nil {
		return abandoned(ctx, err)
	}
	if err := checkMessageNesting(message, known.input, 0); err != nil {
		return err
	}
	request, err := newRawRequest(ctx, message, known.input)
	if err != nil {
		return err
	}
	var response frame
	if err := s.edge.Invoke(ctx, method, request, &response, grpc.ForceCodecV2(frameCodec{})); err != nil {
		return err
	}
	if err := s.edge.answers.reserveGRPC(ctx, method, len(response)); err != nil {
		return err
	}
	return sendError(stream.SendMsg(&response))
}

// abandoned returns CANCELLED or DEADLINE_EXCEEDED for a call that its client has ended, whatever grpc-go makes of what
// was left of it. Otherwise it returns err.
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

// sendError reports a response that is too large as such, and any other as one that the client no longer takes: it has
// reset the stream, closed the connection, or set limits that no response keeps (SETTINGS_MAX_HEADER_LIST_SIZE). It
// returns nil for nil.
func sendError(err error) error {
	if err == nil || status.Code(err) == codes.ResourceExhausted {
		return err
	}
	return apierr.Cancelled(err)
}

// frame is a message as its bytes.
type frame []byte

// frameCodec leaves frames as they are, and everything else (health, reflection) to the codec that it wraps.
type frameCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c frameCodec) Marshal(message any) (mem.BufferSlice, error) {
	switch message := message.(type) {
	case *frame:
		return mem.BufferSlice{mem.SliceBuffer(*message)}, nil
	case *rawRequest:
		return mem.BufferSlice{mem.SliceBuffer(message.message)}, nil
	default:
		return c.CodecV2.Marshal(message)
	}
}

// Unmarshal implements encoding.CodecV2.
func (c frameCodec) Unmarshal(data mem.BufferSlice, message any) error {
	if f, ok := message.(*frame); ok {
		*f = data.Materialize() // A copy: the buffers go back to their pool when this returns.
		return nil
	}
	return c.CodecV2.Unmarshal(data, message)
}

// Name implements encoding.CodecV2.
func (c frameCodec) Name() string { return proto.Name }
