package grpcx

import (
	"context"
	"log/slog"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// originStream is a stream whose context carries the request id and the client.
type originStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // It replaces the context of the stream.
}

// Context implements grpc.ServerStream.
func (s originStream) Context() context.Context { return s.ctx }

func withStreamOrigin(authenticator *authn.Authenticator) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return next(server, originStream{stream, originOf(stream.Context(), authenticator)})
	}
}

// streamLog logs a stream that has ended, and converts its error to a status. Most streams end when their caller
// cancels them: LogCall logs those at debug level.
func streamLog(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		began := time.Now()
		err := next(server, stream)
		LogCall(stream.Context(), log, slog.LevelInfo, info.FullMethod, time.Since(began), err)
		return apierr.Status(err).Err()
	}
}

func streamRecovery(
	server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler,
) (err error) {
	defer Recover(&err)
	return next(server, stream)
}

// validatedStream rejects messages that break the rules of the contract.
type validatedStream struct {
	grpc.ServerStream

	validator protovalidate.Validator
}

// RecvMsg implements grpc.ServerStream.
func (s validatedStream) RecvMsg(into any) error {
	if err := s.ServerStream.RecvMsg(into); err != nil {
		return err
	}
	if message, ok := into.(proto.Message); ok {
		return Validate(s.validator, message)
	}
	return nil
}

func streamValidation(validator protovalidate.Validator) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return next(server, validatedStream{stream, validator})
	}
}
