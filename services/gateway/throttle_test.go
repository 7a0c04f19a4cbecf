package gateway

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const logInMethod = "/gatehouse.v1.SessionService/CreateSession"

// stepClock is a time that only the test makes pass.
type stepClock struct{ time.Time }

func (c *stepClock) now() time.Time { return c.Time }

// TestAThrottleSendsWhatIsTaken: of ten times what is taken it sends enough to fill a queue, and little more; and when
// the flood is over it sends all.
func TestAThrottleSendsWhatIsTaken(t *testing.T) {
	const method, capacity, offered = logInMethod, 50, 500
	overload := apierr.Overloaded(2 * time.Second)
	clock := &stepClock{time.Unix(1, 0)}
	throttle := newThrottle(clock.now)
	var sent, taken int
	room := 0.0
	second := func(perSecond int) {
		sent, taken = 0, 0
		for range perSecond {
			clock.Time = clock.Add(time.Second / time.Duration(perSecond))
			room = min(room+float64(capacity)/float64(perSecond), 10)
			if err := throttle.check(method); err != nil {
				if !errors.Is(err, overload) {
					t.Fatal(err)
				}
				continue
			}
			sent++
			if room < 1 {
				throttle.learn(method, overload)
				continue
			}
			room--
			taken++
			throttle.learn(method, nil)
		}
	}
	for range 5 {
		second(offered)
	}
	if taken < capacity*95/100 || sent > sentPerTaken*capacity+2*sentAnyway {
		t.Errorf("in a flood %d are sent, and %d are taken", sent, taken)
	}
	second(capacity)
	for range 3 {
		if second(capacity / 2); sent != capacity/2 {
			t.Errorf("after the flood %d of %d are sent", sent, capacity/2)
		}
	}
	clock.Time = clock.Add(flowMemory)
	room = 1000
	for range 200 {
		if err := throttle.check(method); err != nil {
			t.Fatalf("long after the flood: %v", err)
		}
	}
	if err := throttle.check("/another/Method"); err != nil {
		t.Errorf("another method: %v", err)
	}
}

// TestAFloodIsRefusedAlike by the service behind and by the gateway, over both transports.
func TestAFloodIsRefusedAlike(t *testing.T) {
	h, upstream := newServedHouse(t)
	calls := 0
	upstream.createUser = func(context.Context, *gatehousev1.CreateUserRequest) error {
		calls++
		return apierr.Status(apierr.Overloaded(3 * time.Second)).Err()
	}
	const offered = 10 * sentAnyway
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
