package grpcproxy

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

// callStream is a stream whose context names the request and the client, and which sets the request id in the header
// once there is a message to send. An error has the request id in its trailers and no header, so that it is sent as
// Trailers-Only: a client with a retry policy sends no call again whose response headers have arrived (gRFC A6).
type callStream struct {
	grpc.ServerStream

	ctx   context.Context //nolint:containedctx // A stream has its context, and this is another one for it.
	begun bool            // the header is set
}

// Context implements grpc.ServerStream.
func (s *callStream) Context() context.Context { return s.ctx }

// SendMsg implements grpc.ServerStream.
func (s *callStream) SendMsg(message any) error {
	if !s.begun {
		s.begun = true
		if err := s.SetHeader(requestIDOf(s.ctx)); err != nil {
			return err //nolint:wrapcheck // As the stream's own SendMsg: the client has ended the stream.
		}
	}
	return s.ServerStream.SendMsg(message) //nolint:wrapcheck // A status.
}

// requestIDOf returns the metadata that names the request of a context.
func requestIDOf(ctx context.Context) metadata.MD {
	return metadata.Pairs(callctx.RequestIDHeader, callctx.RequestID(ctx))
}
