package grpcproxy

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// admit returns the context of a native gRPC call with its request id and its client, and counts the call until release
// is called. A refusal is logged at debug level, as a client can cause any number of them.
func (s *Server) admit(ctx context.Context, method string) (_ context.Context, release func(), err error) {
	ctx = callctx.FromIncoming(ctx)
	ctx = callctx.WithClient(ctx, s.clientOf(ctx))
	switch err = checkMetadataSize(ctx); {
	case err != nil:
	case hasUnsharedStreams(ctx):
		err = edge.ErrTooManyCalls()
	default:
		release, err = s.edge.Calls.Acquire(ctx)
	}
	if err != nil {
		grpcx.LogCall(ctx, s.log, slog.LevelDebug, s.edge.LoggedName(method), 0, err)
		return ctx, nil, apierr.Status(err).Err()
	}
	return ctx, release, nil
}

// hasUnsharedStreams reports whether the connection of a call has streams beyond the share of its client.
func hasUnsharedStreams(ctx context.Context) bool {
	from, _ := peer.FromContext(ctx)
	info, ok := from.AuthInfo.(streamsInfo)
	return ok && info.streams.overShare()
}

// limitCall counts the unary calls, which are those of grpc.health.v1.
func (s *Server) limitCall(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (any, error) {
	ctx, release, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		_ = grpc.SetTrailer(ctx, requestIDOf(ctx)) // It fails if the client has ended the call.
		return nil, err
	}
	defer release()
	response, err := next(ctx, request)
	if err != nil {
		_ = grpc.SetTrailer(ctx, requestIDOf(ctx))
		return nil, err
	}
	_ = grpc.SetHeader(ctx, requestIDOf(ctx))
	return response, nil
}

// limitStream counts all other calls: the gateway forwards those of the contract as streams.
func (s *Server) limitStream(
	server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler,
) error {
	ctx, release, err := s.admit(stream.Context(), info.FullMethod)
	call := &callStream{ServerStream: stream, ctx: ctx}
	if err == nil {
		defer release()
		err = next(server, call)
	}
	if err != nil {
		call.SetTrailer(requestIDOf(ctx))
	}
	return err
}

// clientOf returns the client of a call.
func (s *Server) clientOf(ctx context.Context) callctx.Client {
	var address netip.Addr
	if from, ok := peer.FromContext(ctx); ok {
		address = edge.ParseAddress(from.Addr.String())
	}
	return s.proxies.Client(address, metadata.ValueFromIncomingContext(ctx, edge.ForwardedFor),
		strings.Join(metadata.ValueFromIncomingContext(ctx, "user-agent"), " "))
}

// checkMetadataSize returns an error for a call with too many bytes of metadata.
func checkMetadataSize(ctx context.Context) error {
	fields, _ := metadata.FromIncomingContext(ctx)
	return edge.CheckHeaderSize(fields, 0)
}
