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
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// serviceConfig spreads calls over all addresses that the target's name resolves to.
const serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// DialAddresses returns a connection, as Dial does, to a service of Gatehouse at one or more addresses, HOST:PORT each.
// If there is one address, all that HOST resolves to are used.
func DialAddresses(
	addresses []string, credential authn.ServiceCredential, options ...grpc.DialOption,
) (*grpc.ClientConn, error) {
	if len(addresses) == 1 {
		return Dial("dns:///"+addresses[0], credential, options...)
	}
	list := manual.NewBuilderWithScheme("addresses")
	state := resolver.State{}
	for _, address := range addresses {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	list.InitialState(state)
	return Dial("addresses:///"+strings.Join(addresses, ","), credential, append(options, grpc.WithResolvers(list))...)
}

// Dial returns a connection to another service of Gatehouse. Target is a gRPC target such as "dns:///store:9092". Dial
// does not wait for the service: connections are opened when they are needed, and again when they are lost. Each call
// carries the credential; with a zero one the service answers health checks only.
func Dial(
	target string, credential authn.ServiceCredential, options ...grpc.DialOption,
) (*grpc.ClientConn, error) {
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
		grpc.WithUnaryInterceptor(outgoing(credential)),
		grpc.WithStreamInterceptor(outgoingStream(credential)),
	}, options...)
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

// NewKeySet returns the public keys that a service fetches from the store. A goroutine of its own fetches them, where a
// panic would end the process: it is an error of the fetch instead.
func NewKeySet(check *authn.IssuerCheck, store grpc.ClientConnInterface) *authn.KeySet {
	fetch := check.FetchKeys(store)
	return authn.NewKeySet(func(ctx context.Context) (set *gatehousev1.ListKeysResponse, err error) {
		defer Recover(&err)
		return fetch(ctx)
	}, time.Now)
}

// InProcess makes Dial connect to a listener in this process, with the target "passthrough:///in-process". Calls
// pass the same interceptors as over a network.
func InProcess(listener interface {
	DialContext(ctx context.Context) (net.Conn, error)
},
) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	})
}
