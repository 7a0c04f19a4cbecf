package authn

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// Requirement is what a method requires of its caller.
type Requirement struct {
	Policy      gatehousev1.Policy
	RecentLogin bool // a log-in within MaxLoginAge as well
}

// Policies holds the requirements of each method, by its full name ("/gatehouse.v1.UserService/ReadUser").
type Policies map[string]Requirement

// LoadPolicies reads the policies of the named services from the contract. It reports an error for each service that is
// not linked in and each method without a policy: default deny begins at start-up.
func LoadPolicies(services ...string) (Policies, error) {
	policies := Policies{}
	var problems []error
	for _, service := range services {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			problems = append(problems, fmt.Errorf("find service %s: %w", service, err))
			continue
		}
		descriptor, ok := found.(protoreflect.ServiceDescriptor)
		if !ok {
			problems = append(problems, fmt.Errorf("%s is not a service", service))
			continue
		}
		problems = append(problems, policies.add(descriptor))
	}
	return policies, errors.Join(problems...)
}

func (p Policies) add(service protoreflect.ServiceDescriptor) error {
	var problems []error
	methods := service.Methods()
	for i := range methods.Len() {
		method := methods.Get(i)
		policy, _ := proto.GetExtension(method.Options(), gatehousev1.E_Policy).(gatehousev1.Policy)
		if policy == gatehousev1.Policy_POLICY_UNSPECIFIED {
			problems = append(problems, fmt.Errorf("method %s has no policy in the contract", method.FullName()))
			continue
		}
		recent, _ := proto.GetExtension(method.Options(), gatehousev1.E_RecentLogin).(bool)
		if recent && policy != gatehousev1.Policy_POLICY_AUTHENTICATED && policy != gatehousev1.Policy_POLICY_ADMIN {
			problems = append(problems, fmt.Errorf("method %s requires a recent log-in, but no caller", method.FullName()))
			continue
		}
		p[fmt.Sprintf("/%s/%s", service.FullName(), method.Name())] = Requirement{Policy: policy, RecentLogin: recent}
	}
	return errors.Join(problems...)
}
