package gateway

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// TestHeaderSize checks that a request with too large a header is refused, and the others of its HTTP/2 connection go
// on.
func TestHeaderSize(t *testing.T) {
	u := newUpstream(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	u.createUser = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
		entered <- struct{}{}
		select {
		case <-leave:
		case <-ctx.Done():
		}
		return nil
	}
	conn := u.serve(t)
	env := newTestEnv(t, conn, conn)
	sizes := []int{17 << 10, 40 << 10, 60 << 10}

	t.Run("REST_over_HTTP/2", func(t *testing.T) {
		var dials atomic.Int64
		var protocols http.Protocols
		protocols.SetUnencryptedHTTP2(true)
		env.client.Transport = &http.Transport{Protocols: &protocols, DialContext: func(
			ctx context.Context, network, address string,
		) (net.Conn, error) {
			dials.Add(1)
			return dialerFrom(attacker).DialContext(ctx, network, address)
		}}
		neighbour := make(chan error, 1)
		go func() {
			response, err := env.client.Do(postUser(t, t.Context(), env.base))
			if err == nil {
				err = response.Body.Close()
			}
			neighbour <- err
		}()
		<-entered
		for _, size := range sizes {
			env.get(t, "/.well-known/jwks.json", "X-Large: "+strings.Repeat("a", size)).
				wantFailure(t, http.StatusRequestHeaderFieldsTooLarge, "REQUEST_TOO_LARGE")
		}
		env.get(t, "/.well-known/jwks.json", "X-Large: "+strings.Repeat("a", edge.MaxHeaderBytes-1000)).wantOK(t)
		env.wantBystanderServed(t)
		leave <- struct{}{}
		if err := <-neighbour; err != nil {
			t.Errorf("another call of the connection: %v", err)
		}
		if dials.Load() != 1 {
			t.Errorf("there are %d connections", dials.Load())
		}
	})

	t.Run("native_gRPC", func(t *testing.T) {
		conn := env.grpcFrom(t, attacker)
		neighbour := make(chan error, 1)
		go func() {
			_, err := gatehousev1.NewUserServiceClient(conn).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
			neighbour <- err
		}()
		<-entered
		keys := gatehousev1.NewKeyServiceClient(conn)
		list := func(size int) error {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-large", strings.Repeat("a", size))
			_, err := keys.ListKeys(ctx, &gatehousev1.ListKeysRequest{})
			return err
		}
		for _, size := range sizes {
			wantStatus(t, list(size), codes.ResourceExhausted, "REQUEST_TOO_LARGE")
		}
		if err := list(edge.MaxHeaderBytes - 1000); err != nil {
			t.Error(err)
		}
		env.wantBystanderServed(t)
		leave <- struct{}{}
		if err := <-neighbour; err != nil {
			t.Errorf("another call of the connection: %v", err)
		}
	})
}
