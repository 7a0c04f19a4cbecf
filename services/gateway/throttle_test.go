package gateway

import (
	"context"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// TestThrottledCalls checks that the service behind and the gateway reject calls with the same error, over both
// transports.
func TestThrottledCalls(t *testing.T) {
	env, upstream := newServedEnv(t)
	calls := 0
	upstream.createUser = func(context.Context, *gatehousev1.CreateUserRequest) error {
		calls++
		return apierr.Status(apierr.Overloaded(3 * time.Second)).Err()
	}
	const offered = 100
	for range offered {
		_, err := env.raw(t.Context(), "/gatehouse.v1.UserService/CreateUser", nil)
		if reason := apierr.ReasonOf(status.Convert(err)); reason != gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED {
			t.Fatalf("native gRPC gets %v", err)
		}
		failed := env.post(t, "/v1/users", "{}")
		failed.wantFailure(t, http.StatusTooManyRequests, "OVERLOADED")
		failed.wantHeader(t, "Retry-After", "3")
	}
	if calls == 2*offered {
		t.Errorf("all %d calls were sent on", calls)
	}
}
