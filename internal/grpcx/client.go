package grpcx

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/clientinfo"
	"github.com/gatehouse-auth/gatehouse/internal/requestid"
)

// callTimeout bounds a call to another service where the caller set no shorter deadline.
const callTimeout = 10 * time.Second

// serviceConfig spreads calls over all addresses that the target's name resolves to.
const serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// DialAddresses makes a connection to a service of Gatehouse that is at one or more addresses, HOST:PORT each, as Dial
// does. Of a single address all that HOST resolves to is used.
func DialAddresses(addresses []string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	if len(addresses) == 1 {
		return Dial("dns:///"+addresses[0], options...)
	}
	list := manual.NewBuilderWithScheme("addresses")
	state := resolver.State{}
	for _, address := range addresses {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	list.InitialState(state)
	return Dial("addresses:///"+strings.Join(addresses, ","), append(options, grpc.WithResolvers(list))...)
}

// Dial makes a connection to another service of Gatehouse. Target is a gRPC target such as "dns:///store:9092". It does
// not wait for the service: connections are made when they are needed and made again when they are lost.
func Dial(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	options = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageSize), grpc.MaxCallSendMsgSize(MaxMessageSize)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second,
			},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithUnaryInterceptor(outgoing),
	}, options...)
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

// InProcess tells Dial to connect to a listener in this process, with the target "passthrough:///in-process". Calls
// pass the same interceptors as over a network.
func InProcess(listener interface {
	DialContext(ctx context.Context) (net.Conn, error)
},
) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	})
}

// outgoing sends the request's id, the client and the caller's token along, and nothing else that came in: what a
// client sends beyond these must not reach a service as if the gateway had said it.
func outgoing(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pairs := clientinfo.Outgoing(ctx)
	if id := requestid.FromContext(ctx); id != "" {
		pairs = append(pairs, requestid.Header, id)
	}
	if tokens := metadata.ValueFromIncomingContext(ctx, authn.AuthorizationKey); len(tokens) == 1 {
		pairs = append(pairs, authn.AuthorizationKey, tokens[0])
	}
	return invoke(metadata.NewOutgoingContext(ctx, metadata.Pairs(pairs...)), method, req, reply, conn, options...)
}
