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

// TestAFloodIsRefusedAlike by the service behind and by the gateway, over both transports.
func TestAFloodIsRefusedAlike(t *testing.T) {
	h, upstream := newServedHouse(t)
	calls := 0
	upstream.createUser = func(context.Context, *gatehousev1.CreateUserRequest) error {
		calls++
		return apierr.Status(apierr.Overloaded(3 * time.Second)).Err()
	}
	const offered = 100
	for range offered {
		_, err := h.raw(t.Context(), "/gatehouse.v1.UserService/CreateUser", nil)
		if reason := apierr.ReasonOf(status.Convert(err)); reason != gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED {
			t.Fatalf("native gRPC gets %v", err)
		}
		told := h.post(t, "/v1/users", "{}")
		told.wantFailure(t, http.StatusTooManyRequests, "OVERLOADED")
		told.wantHeader(t, "Retry-After", "3")
	}
	if calls == 2*offered {
		t.Errorf("all %d calls were sent on", calls)
	}
}
