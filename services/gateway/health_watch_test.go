package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // Client-side health checks.
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

const (
	serving    = healthpb.HealthCheckResponse_SERVING
	notServing = healthpb.HealthCheckResponse_NOT_SERVING
)

// aService is one of which the upstream can be set not to serve.
const aService = "gatehouse.v1.SessionService"

// watchHealth opens a stream of Watch, until the test ends.
func watchHealth(t *testing.T, conn *grpc.ClientConn, name string) healthpb.Health_WatchClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{Service: name})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func wantHealth(t *testing.T, stream healthpb.Health_WatchClient, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	if got, err := stream.Recv(); err != nil || got.GetStatus() != want {
		t.Fatalf("the health is %v, %v, want %v", got.GetStatus(), err, want)
	}
}

func TestHealthWatch(t *testing.T) {
	t.Run("sends_what_changes", func(t *testing.T) {
		t.Parallel()
		env, u := newServedEnv(t)
		all, one := watchHealth(t, env.conn, ""), watchHealth(t, env.conn, aService)
		part, unknown := watchHealth(t, env.conn, "gatehouse.store"), watchHealth(t, env.conn, "no.such")
		wantHealth(t, unknown, healthpb.HealthCheckResponse_SERVICE_UNKNOWN)
		wantHealth(t, part, serving)
		for _, want := range []healthpb.HealthCheckResponse_ServingStatus{serving, notServing, serving} {
			u.health.SetServingStatus(aService, want)
			wantHealth(t, all, want)
			wantHealth(t, one, want)
		}
		env.wantBystanderServed(t)
	})

	t.Run("lets_a_client_with_health_checks_leave_a_gateway_that_does_not_serve", func(t *testing.T) {
		t.Parallel()
		env, u := newServedEnv(t)
		conn := env.checkingConn(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		read := func() error {
			_, err := gatehousev1.NewKeyServiceClient(conn).ListKeys(ctx, &gatehousev1.ListKeysRequest{})
			return err
		}
		if err := read(); err != nil {
			t.Fatal(err)
		}
		u.health.SetServingStatus(aService, notServing)
		awaitState(ctx, t, conn, connectivity.TransientFailure)
		if err := read(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "health") {
			t.Errorf("a call to a gateway that does not serve: %v", err)
		}
		env.wantBystanderServed(t) // Others do not look at the health.
		u.health.SetServingStatus(aService, serving)
		awaitState(ctx, t, conn, connectivity.Ready)
		if err := read(); err != nil {
			t.Error(err)
		}
	})

	t.Run("is_bounded_for_each_client_whose_calls_go_on_without", func(t *testing.T) {
		t.Parallel()
		env, _ := newServedEnv(t)
		const share = 64
		conn := env.grpcFrom(t, attacker)
		for range share {
			wantHealth(t, watchHealth(t, conn, ""), serving)
		}
		if _, err := watchHealth(t, conn, "").Recv(); status.Code(err) != codes.Unimplemented {
			t.Errorf("a stream beyond the share: %v", err)
		}
		checking := env.checkingConn(t, grpc.WithContextDialer(fromAttacker))
		if _, err := gatehousev1.NewKeyServiceClient(checking).ListKeys(t.Context(), &gatehousev1.ListKeysRequest{}); err != nil {
			t.Errorf("a call of a client with health checks beyond the share: %v", err)
		}
		wantHealth(t, watchHealth(t, env.grpcFrom(t, bystander), ""), serving)
		env.wantBystanderServed(t)
	})

	t.Run("ends_with_NOT_SERVING_when_the_gateway_stops", func(t *testing.T) {
		t.Parallel()
		env, _ := newServedEnv(t)
		stream := watchHealth(t, env.conn, "")
		wantHealth(t, stream, serving)
		env.cancel()
		wantHealth(t, stream, notServing)
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the stream ends with %v", err)
		}
		<-env.ended
	})

	t.Run("says_NOT_SERVING_while_the_gateway_drains", func(t *testing.T) {
		t.Parallel()
		conn := newUpstream(t).serve(t)
		env := newConfiguredEnv(t, Config{Issuer: issuer, Audience: audience, DrainDelay: time.Minute}, conn, conn)
		stream := watchHealth(t, env.conn, "")
		wantHealth(t, stream, serving)
		env.service.health.SetDraining(true)
		wantHealth(t, stream, notServing)
		env.wantBystanderServed(t)
		env.service.delay = 0 // The test stops it.
	})
}

// TestHealthWatchConnection checks that a stream that stays open for long does not count as an unread answer.
func TestHealthWatchConnection(t *testing.T) {
	const timeout = 200 * time.Millisecond
	u := newUpstream(t)
	u.fullName = strings.Repeat("a", largeAnswer)
	upstream := u.serve(t)
	env := newTestEnv(t, upstream, upstream, func(s *Service) { s.grpc.Streams.Timeout = timeout })
	opened := time.Now()
	stream := watchHealth(t, env.conn, "")
	wantHealth(t, stream, serving)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+u.token(t))
	testkit.Eventually(t, func() error { // The large answers beside it end, and are not held.
		if _, err := env.raw(ctx, gatehousev1.UserService_ReadUser_FullMethodName, readMe(t)); err != nil {
			t.Fatal(err)
		}
		if age := time.Since(opened); age < 3*timeout {
			return fmt.Errorf("the stream is open for %v", age)
		}
		return nil
	})
	testkit.Eventually(t, func() error {
		if held, _ := env.service.edge.Answers.Large.Usage(); held != 0 {
			return fmt.Errorf("%d bytes of answers are held", held)
		}
		return nil
	})
	u.health.SetServingStatus(aService, notServing)
	wantHealth(t, stream, notServing)
	env.wantBystanderServed(t)
}

// checkingConn returns the connection of a client that checks the health of the gateway (gRFC A17).
func (env *testEnv) checkingConn(t *testing.T, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(env.conn.Target(), append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}`),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func awaitState(ctx context.Context, t *testing.T, conn *grpc.ClientConn, want connectivity.State) {
	t.Helper()
	for state := conn.GetState(); state != want; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			t.Fatalf("the connection is %v, want %v", state, want)
		}
	}
}
