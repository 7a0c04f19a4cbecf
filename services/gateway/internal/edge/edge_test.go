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

// TestAdmit checks that an admission counts for its own method only.
func TestAdmit(t *testing.T) {
	front, err := New(Services(nil, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, method, err := front.Admit(t.Context(), gatehousev1.UserService_CreateUser_FullMethodName)
	if err != nil || method.Name != gatehousev1.UserService_CreateUser_FullMethodName {
		t.Fatalf("the admitted method is %v, %v", method, err)
	}
	for name, want := range map[string]gatehousev1.ErrorReason{
		gatehousev1.UserService_ReadUser_FullMethodName:  gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING,
		gatehousev1.AdminService_SetRoles_FullMethodName: gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING,
		"/gatehouse.v1.UserService/NoMethod":             gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND,
		"/gatehouse.internal.v1.ChangeService/Watch":     gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND,
	} {
		err := front.Invoke(ctx, name, nil, nil)
		if got := apierr.ReasonOf(apierr.Status(err)); got != want {
			t.Errorf("%s after another admission: the reason is %v, want %v", name, got, want)
		}
	}
}

func TestNew(t *testing.T) {
	for _, name := range []string{"gatehouse.v1.NoService", "gatehouse.v1.User"} {
		if _, err := New([]Service{{name, nil}}, nil); err == nil {
			t.Errorf("%s is a service", name)
		}
	}
}
