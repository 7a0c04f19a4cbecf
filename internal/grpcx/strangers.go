package grpcx

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// maxStrangerStreams bounds the streams of senders without a valid service credential, and
// maxStrangerStreamsPerClient those of one address, over all its connections. Strangers may check the health only.
const (
	maxStrangerStreams          = 8 << 10
	maxStrangerStreamsPerClient = 1000
)

// limitStrangers returns a handler that grpc-go calls for the headers of each stream. Interceptors are called with the
// message of a call, and a stranger could hold maxStreams streams on each connection without sending one.
func limitStrangers(authenticator *authn.Authenticator) tap.ServerInHandle {
	streams := shares.NewFair(maxStrangerStreams, maxStrangerStreamsPerClient)
	return func(ctx context.Context, _ *tap.Info) (context.Context, error) {
		if _, isService := authenticator.IdentifyPeer(ctx); isService {
			return ctx, nil
		}
		release, ok := streams.Acquire(shares.KeyOf(peerAddress(ctx)), 1)
		if !ok {
			return ctx, apierr.Status(apierr.Overloaded(time.Second)).Err()
		}
		context.AfterFunc(ctx, release)
		return ctx, nil
	}
}

// peerAddress returns the address of the sender's connection, or the zero Addr for a connection within the process.
func peerAddress(ctx context.Context) netip.Addr {
	connected, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	address, _ := netip.ParseAddrPort(connected.Addr.String()) // An address without a port is not of a network.
	return address.Addr()
}
