package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// maxClientHeader is what many gRPC clients accept of the header fields of an answer, in bytes.
const maxClientHeader = 8 << 10

// dialFrom connects to the native gRPC port from an address of this machine, as a client of the usual limits.
func (env *testEnv) dialFrom(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := grpc.NewClient(env.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithMaxHeaderListSize(maxClientHeader),
		grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", target)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// TestErrorSize checks that errors of an upstream that grow with the request are bounded.
func TestErrorSize(t *testing.T) {
	u := newUpstream(t)
	u.createUser = func(_ context.Context, req *gatehousev1.CreateUserRequest) error {
		if req.GetFullName() == "Ada" {
			return nil
		}
		faults := make([]*errdetails.BadRequest_FieldViolation, 0, 10_000)
		for i := range cap(faults) {
			faults = append(faults, &errdetails.BadRequest_FieldViolation{
				Field: fmt.Sprintf("roles[%d].%s", i, strings.Repeat("r", 200)), Description: "is no role",
			})
		}
		return apierr.InvalidFields(faults)
	}
	conn := u.serve(t)
	env := newTestEnv(t, conn, conn)

	t.Run("native_gRPC", func(t *testing.T) {
		users := gatehousev1.NewUserServiceClient(env.dialFrom(t, "127.0.0.1"))
		_, err := users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
		wantStatus(t, err, codes.InvalidArgument, "INVALID_FIELDS")
		named := 0
		for _, detail := range status.Convert(err).Details() {
			if request, ok := detail.(*errdetails.BadRequest); ok {
				named = len(request.GetFieldViolations())
			}
		}
		if named == 0 || named > 16 {
			t.Errorf("%d violations are named", named)
		}
	})
	t.Run("REST", func(t *testing.T) {
		answer := env.post(t, "/v1/users", `{}`)
		if named := answer.wantFailure(t, http.StatusBadRequest, "INVALID_FIELDS").fields(); len(named) > 16 {
			t.Errorf("%d fields are named", len(named))
		}
		if len(answer.text) > maxClientHeader {
			t.Errorf("the answer has %d bytes", len(answer.text))
		}
	})
	t.Run("REST_with_a_long_method", func(t *testing.T) {
		answer := env.call(t, strings.Repeat("X", 10_000), "/v1/users", http.NoBody)
		answer.wantFailure(t, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
		if len(answer.text) > 1024 {
			t.Errorf("the answer has %d bytes", len(answer.text))
		}
	})
	t.Run("bystander", func(t *testing.T) {
		users := gatehousev1.NewUserServiceClient(env.dialFrom(t, "127.0.0.2"))
		if _, err := users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{FullName: "Ada"}); err != nil {
			t.Error(err)
		}
	})
}
