package grpcx

import (
	"context"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

func withOrigin(authenticator *authn.Authenticator) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return next(originOf(ctx, authenticator), req)
	}
}

// originOf returns a context that carries the role of the service that sent the call, the request id and the client.
// A sender without a valid service credential is itself the client, at the address of its connection, and its request
// gets a new id.
func originOf(ctx context.Context, authenticator *authn.Authenticator) context.Context {
	ctx, isService := authenticator.IdentifyPeer(ctx)
	if isService {
		return callctx.FromIncoming(ctx)
	}
	return callctx.WithClient(callctx.WithRequestID(ctx, ""), callctx.NewClient(peerAddress(ctx), ""))
}
