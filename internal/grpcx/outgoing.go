package grpcx

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

func outgoing(credential authn.ServiceCredential) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
		options ...grpc.CallOption,
	) error {
		ctx, cancel := context.WithTimeout(ctx, deadlines.Call)
		defer cancel()
		err := invoke(withOutgoing(ctx, credential), method, req, reply, conn, options...)
		if apierr.ReasonOf(status.Convert(err)) == gatehousev1.ErrorReason_ERROR_REASON_SERVICE_CREDENTIAL_INVALID {
			return authn.ErrServiceCredentialRefused
		}
		return err
	}
}

func outgoingStream(credential authn.ServiceCredential) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer,
		options ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		return open(withOutgoing(ctx, credential), desc, conn, method, options...)
	}
}

// withOutgoing returns a context whose outgoing metadata is the credential, the request id, the client and the caller's
// token, and nothing else of the incoming metadata: what a client sends must not reach a service in the gateway's name.
func withOutgoing(ctx context.Context, credential authn.ServiceCredential) context.Context {
	pairs := append(credential.Metadata(), callctx.Outgoing(ctx)...)
	if tokens := metadata.ValueFromIncomingContext(ctx, authn.AuthorizationKey); len(tokens) == 1 {
		pairs = append(pairs, authn.AuthorizationKey, tokens[0])
	}
	return metadata.NewOutgoingContext(ctx, metadata.Pairs(pairs...))
}
