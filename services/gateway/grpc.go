package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // lets clients compress; the limit holds for what comes out
	"google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/clientinfo"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/requestid"
)

// maxReadSize is how much of a request is read, in bytes: more than grpcx.MaxMessageSize, because beyond it grpc-go
// refuses the call by itself, with a status that has no reason.
const maxReadSize = 2 * grpcx.MaxMessageSize

// connBuffer is what a connection reads into, in bytes. It is there also while the connection is idle.
const connBuffer = 8 << 10

// grpcServer serves native gRPC clients. It passes frames on without decoding them.
type grpcServer struct {
	edge    *edge
	proxies trustedProxies
	log     *slog.Logger
	grpc    *grpc.Server
}

func newGRPCServer(edge *edge, health *health, proxies trustedProxies, log *slog.Logger) *grpcServer {
	s := &grpcServer{edge: edge, proxies: proxies, log: log}
	s.grpc = grpc.NewServer(append(grpcx.Limits(),
		grpc.MaxRecvMsgSize(maxReadSize),
		grpc.InitialWindowSize(callShare), // And no more where the network would bear it.
		grpc.ReadBufferSize(connBuffer),
		grpc.ForceServerCodecV2(frameCodec{encoding.GetCodecV2(proto.Name)}),
		grpc.UnknownServiceHandler(s.handle),
	)...)
	healthpb.RegisterHealthServer(s.grpc, health)
	reflectionpb.RegisterServerReflectionServer(s.grpc,
		reflection.NewServerV1(reflection.ServerOptions{Services: edge.routes}))
	return s
}

func (s *grpcServer) run(ctx context.Context, listener net.Listener) error {
	s.log.InfoContext(ctx, "serving gRPC", "address", listener.Addr().String())
	return grpcx.ServeUntil(ctx, s.grpc, listener, func() {})
}

// handle serves one call of any method.
func (s *grpcServer) handle(_ any, stream grpc.ServerStream) error {
	ctx := requestid.FromIncoming(stream.Context())
	ctx = clientinfo.With(ctx, s.proxies.ofGRPC(ctx))
	method, _ := grpc.MethodFromServerStream(stream)
	began := time.Now()
	err := s.forward(ctx, method, stream)
	grpcx.LogCall(ctx, s.log, slog.LevelInfo, method, time.Since(began), err)
	return apierr.Status(err).Err()
}

func (s *grpcServer) forward(ctx context.Context, method string, stream grpc.ServerStream) (err error) {
	defer grpcx.Recover(&err)
	if err := stream.SetHeader(metadata.Pairs(requestid.Header, requestid.FromContext(ctx))); err != nil {
		return apierr.Cancelled(err) // The one reason is that the client has ended the stream already.
	}
	if _, _, err := s.edge.admit(ctx, method); err != nil {
		return err
	}
	var response frame
	holding := s.edge.intake.hold()
	defer holding.release()
	request, err := receive(stream, holding)
	if err != nil {
		return abandoned(ctx, err)
	}
	if err := s.edge.Invoke(ctx, method, request, &response, grpc.ForceCodecV2(frameCodec{})); err != nil {
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

// receive reads the message of a call. Like the body of a REST request it must be here within readTimeout. When receive
// gives up and the call ends, the read that is still waiting ends with it.
func receive(stream grpc.ServerStream, holding *holding) (*frame, error) {
	if err := holding.set(callShare); err != nil {
		return nil, err
	}
	request := new(frame)
	received := make(chan error, 1)
	go func() { received <- stream.RecvMsg(request) }()
	if err := await(received, holding.intake); err != nil {
		return nil, err
	}
	if len(*request) > grpcx.MaxMessageSize {
		return nil, apierr.RequestTooLarge(nil)
	}
	return request, holding.set(int64(len(*request)))
}

// await waits until a message is received, past receivePatience only in one of the places for slow ones.
func await(received <-chan error, intake *intake) error {
	slow := time.NewTimer(receivePatience)
	defer slow.Stop()
	select {
	case err := <-received:
		return receiveError(err)
	case <-slow.C:
	}
	release, err := intake.beSlow()
	if err != nil {
		return err
	}
	defer release()
	late := time.NewTimer(readTimeout - receivePatience)
	defer late.Stop()
	select {
	case err := <-received:
		return receiveError(err)
	case <-late.C:
		return apierr.DeadlineExceeded(fmt.Errorf("no message within %v", readTimeout))
	}
}

// receiveError says that a call without a readable message is the client's fault, not ours. It is nil for nil.
func receiveError(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Internal {
		return apierr.MalformedRequest("the call has no message that can be read", err)
	}
	return err
}

// frame is a message as its bytes.
type frame []byte

// frameCodec leaves frames as they are, and everything else (health, reflection) to the codec that it wraps.
type frameCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c frameCodec) Marshal(message any) (mem.BufferSlice, error) {
	if f, ok := message.(*frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(*f)}, nil
	}
	return c.CodecV2.Marshal(message)
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
