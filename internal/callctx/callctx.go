// Package callctx carries through the context what identifies a call: the id of the request and the client that made
// it, as the gateway saw them.
package callctx

import (
	"context"
	"net/netip"

	"google.golang.org/grpc/metadata"
)

// FromIncoming returns a context that carries the request id and the client of the incoming gRPC metadata. Only a
// service behind the gateway may call it: at the gateway, the metadata is the client's own.
func FromIncoming(ctx context.Context) context.Context {
	address, _ := netip.ParseAddr(first(ctx, addressKey)) // An invalid address counts as unknown.
	ctx = WithClient(ctx, NewClient(address, first(ctx, userAgentKey)))
	return WithRequestID(ctx, first(ctx, RequestIDHeader))
}

// Outgoing returns the request id and the client as pairs of gRPC metadata, for a call to another service.
func Outgoing(ctx context.Context) []string {
	var pairs []string
	for _, pair := range [][2]string{
		{RequestIDHeader, RequestID(ctx)},
		{addressKey, ClientFrom(ctx).Address},
		{userAgentKey, ClientFrom(ctx).UserAgent},
	} {
		if pair[1] != "" {
			pairs = append(pairs, pair[0], pair[1])
		}
	}
	return pairs
}

func first(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}
