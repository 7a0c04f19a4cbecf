package edge

import (
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

func TestMaxRequestSize(t *testing.T) {
	services := Services(nil, nil)
	names := make([]string, 0, len(services))
	for _, service := range services {
		names = append(names, service.Name)
	}
	policies, err := authn.LoadPolicies(names...)
	if err != nil {
		t.Fatal(err)
	}
	methods, err := loadMethods(services)
	if err != nil {
		t.Fatal(err)
	}
	if len(policies) != len(methods) {
		t.Errorf("%d methods have a size, and %d a policy", len(methods), len(policies))
	}
	for name, method := range methods {
		large := name == gatehousev1.UserService_UpdateUser_FullMethodName
		if large != (method.MaxRequestSize == MaxLargeRequest) || !large && method.MaxRequestSize != MaxSmallRequest {
			t.Errorf("%s accepts %d bytes", name, method.MaxRequestSize)
		}
		if policies[name].Policy == gatehousev1.Policy_POLICY_PUBLIC && method.MaxRequestSize > 16<<10 {
			t.Errorf("%s accepts %d bytes from anybody", name, method.MaxRequestSize)
		}
	}
}
