package gateway

import (
	"context"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// retryingConn returns a connection whose service config has a retry policy, as gRPC's guide for clients has it.
func (env *testEnv) retryingConn(t *testing.T, attempts int) *grpc.ClientConn {
	t.Helper()
	config := fmt.Sprintf(`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": %d, "initialBackoff": "0.01s",
		"maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`, attempts)
	conn, err := grpc.NewClient(env.conn.Target(), grpc.WithDefaultServiceConfig(config),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestGRPCRetryPolicy(t *testing.T) {
	const attempts = 4
	for _, test := range []struct {
		name   string
		faults int64
		code   codes.Code
	}{
		{"succeeds when the fault ends", attempts - 1, codes.OK},
		{"gives up after its attempts", 1000, codes.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			env, u := newServedEnv(t)
			var calls atomic.Int64
			u.updateUser = func(context.Context, *gatehousev1.UpdateUserRequest) error {
				if calls.Add(1) > test.faults {
					return nil
				}
				return apierr.Status(apierr.Unavailable(errTest)).Err()
			}
			ctx := metadata.AppendToOutgoingContext(t.Context(),
				"authorization", "Bearer "+u.token(t), "x-request-id", "mine")
			var header, trailer metadata.MD
			_, err := gatehousev1.NewUserServiceClient(env.retryingConn(t, attempts)).UpdateUser(ctx,
				&gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: userID}}, grpc.Header(&header), grpc.Trailer(&trailer))
			if status.Code(err) != test.code || calls.Load() != attempts {
				t.Errorf("after %d attempts: %v", calls.Load(), err)
			}
			wantRequestID(t, err, header, trailer)
			env.wantBystanderServed(t)
		})
	}
}

// wantRequestID fails the test unless the request id "mine" is in the header of an answer, or in the trailers of an
// error that has no header.
func wantRequestID(t *testing.T, err error, header, trailer metadata.MD) {
	t.Helper()
	want, without := header, trailer
	if err != nil {
		want, without = trailer, header
	}
	if !reflect.DeepEqual(want.Get("x-request-id"), []string{"mine"}) || len(without.Get("x-request-id")) != 0 {
		t.Errorf("header is %v, trailer is %v", header, trailer)
	}
	if err != nil && len(header) != 0 {
		t.Errorf("the error is not Trailers-Only: it has the header %v", header)
	}
}

// TestGRPCRequestID checks that errors of all kinds name the request in the trailers, and have no header.
func TestGRPCRequestID(t *testing.T) {
	env, u := newServedEnv(t)
	mine := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine")
	granted := metadata.AppendToOutgoingContext(mine, "authorization", "Bearer "+u.token(t))
	for _, test := range []struct {
		name, method string
		ctx          context.Context //nolint:containedctx // of the call
		request      []byte
		code         codes.Code
	}{
		{"an answer", gatehousev1.UserService_ReadUser_FullMethodName, granted, nil, codes.OK},
		{"no such method", "/gatehouse.v1.NoService/Read", mine, nil, codes.Unimplemented},
		{"no token", gatehousev1.UserService_ReadUser_FullMethodName, mine, nil, codes.Unauthenticated},
		{"no message of the method", gatehousev1.UserService_ReadUser_FullMethodName, granted, []byte{0xff}, codes.InvalidArgument},
		{"health", healthpb.Health_Check_FullMethodName, mine, nil, codes.OK},
		{"health of nothing", healthpb.Health_Check_FullMethodName, mine, []byte("\x0a\x01x"), codes.NotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(test.ctx, 10*time.Second)
			defer cancel()
			var header, trailer metadata.MD
			_, err := env.raw(ctx, test.method, test.request, grpc.Header(&header), grpc.Trailer(&trailer))
			if status.Code(err) != test.code {
				t.Errorf("error is %v, want %v", err, test.code)
			}
			wantRequestID(t, err, header, trailer)
		})
	}
}
