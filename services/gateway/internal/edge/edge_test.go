package edge

import (
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

func TestNewStream(t *testing.T) {
	front, err := New(Services(nil, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = front.NewStream(t.Context(), nil, gatehousev1.UserService_ReadUser_FullMethodName)
	if got := apierr.ReasonOf(apierr.Status(err)); got != gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND {
		t.Errorf("the reason is %v", got)
	}
}

func TestNew(t *testing.T) {
	for _, name := range []string{"gatehouse.v1.NoService", "gatehouse.v1.User"} {
		if _, err := New([]Service{{name, nil}}, nil); err == nil {
			t.Errorf("%s is a service", name)
		}
	}
}
