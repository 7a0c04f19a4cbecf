package grpcx_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestStrangerStreams opens streams without a message, which no interceptor sees: the handler of each waits.
func TestStrangerStreams(t *testing.T) {
	const share = 1000
	h := newTestEnv(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.serve(t, listener)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	open := func(ctx context.Context) grpc.ClientStream {
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, healthpb.Health_Check_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	ctx, end := context.WithTimeout(t.Context(), 10*time.Second)
	defer end()
	held, endHeld := context.WithCancel(ctx)
	for range share {
		open(held)
	}
	wantStatus(t, open(ctx).RecvMsg(&healthpb.HealthCheckResponse{}), codes.ResourceExhausted, "OVERLOADED")
	if _, err := h.users.CreateUser(ctx, newUser()); err != nil {
		t.Errorf("a service beside the stranger: %v", err)
	}
	endHeld()
	testkit.Eventually(t, func() error { // Once the streams have ended.
		_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		return err
	})
}
