package gateway

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

const overloaded = gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED

// createUserMethod is a method for the public, which takes a body.
const createUserMethod = "/gatehouse.v1.UserService/CreateUser"

// TestRequestsBeyondTheIntakeAreRefused, with the same words over both transports, and what was held is given back,
// however a request ends.
func TestRequestsBeyondTheIntakeAreRefused(t *testing.T) {
	h, _ := newServedHouse(t)
	intake := h.service.grpc.edge.intake
	full := strings.Repeat(" ", grpcx.MaxMessageSize-2) + "{}"
	others := intake.hold()
	if err := others.set(maxIntake - callShare + 1); err != nil {
		t.Fatal(err)
	}
	told := h.post(t, "/v1/users", full)
	overREST := told.wantFailure(t, http.StatusTooManyRequests, "OVERLOADED")
	told.wantHeader(t, "Retry-After", "1")
	_, err := h.raw(t.Context(), createUserMethod, nil)
	if st := status.Convert(err); apierr.ReasonOf(st) != overloaded || st.Message() != overREST.Message {
		t.Errorf("native gRPC gets %v, and REST %q", err, overREST.Message)
	}
	h.post(t, "/v1/users", "{}").wantOK(t) // There is room for a small one.
	others.release()

	h.post(t, "/v1/users", full).wantOK(t)
	h.post(t, "/v1/users", full+" ").wantFailure(t, http.StatusRequestEntityTooLarge, "REQUEST_TOO_LARGE")
	h.post(t, "/v1/users", "{").wantFailure(t, http.StatusBadRequest, "MALFORMED_REQUEST")
	for _, size := range []int{0, grpcx.MaxMessageSize, grpcx.MaxMessageSize + 1, maxReadSize + 1} {
		_, _ = h.raw(t.Context(), createUserMethod, make([]byte, size), grpc.MaxCallSendMsgSize(2*maxReadSize))
	}
	h.stop(t) // Handlers have returned.
	if err := intake.hold().set(maxIntake); err != nil {
		t.Error("not all is given back")
	}
}

// TestAMessageThatIsHeldBackTakesAPlaceForSlowOnes: when there is none left, it is refused, and others are not.
func TestAMessageThatIsHeldBackTakesAPlaceForSlowOnes(t *testing.T) {
	h, _ := newServedHouse(t)
	intake := h.service.grpc.edge.intake
	for range maxSlow {
		release, err := intake.beSlow()
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	stream, err := h.conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, createUserMethod)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.raw(t.Context(), createUserMethod, nil); err != nil {
		t.Errorf("a message that comes at once: %v", err)
	}
	err = stream.RecvMsg(&gatehousev1.CreateUserResponse{})
	if apierr.ReasonOf(status.Convert(err)) != overloaded {
		t.Errorf("one that does not come: %v", err)
	}
}
