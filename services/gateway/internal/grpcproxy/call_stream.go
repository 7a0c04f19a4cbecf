package grpcproxy

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

// callStream is a stream whose context carries the request id and the client. It sends the request id in the header
// before the first message. An error has the request id in its trailers and no header, so that it is sent as
// Trailers-Only: a client with a retry policy does not retry a call whose response headers have arrived (gRFC A6).
type callStream struct {
	grpc.ServerStream

	ctx   context.Context //nolint:containedctx // The context of the stream, which replaces that of the inner one.
	begun bool            // whether the header is set
}

// Context implements grpc.ServerStream.
func (s *callStream) Context() context.Context { return s.ctx }

// SendMsg implements grpc.ServerStream.
func (s *callStream) SendMsg(message any) error {
	if !s.begun {
		s.begun = true
		if err := s.SetHeader(requestIDOf(s.ctx)); err != nil {
			return err //nolint:wrapcheck // Like an error of SendMsg: the client has ended the stream.
		}
	}
	return s.ServerStream.SendMsg(message) //nolint:wrapcheck // A status.
}

// requestIDOf returns the metadata with the request id of a context.
func requestIDOf(ctx context.Context) metadata.MD {
	return metadata.Pairs(callctx.RequestIDHeader, callctx.RequestID(ctx))
}
