package gateway

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// method is what the gateway knows of a method of the contract.
type method struct {
	name           string // full, such as "/gatehouse.v1.UserService/ReadUser"
	input          protoreflect.MessageDescriptor
	output         protoreflect.MessageDescriptor
	options        proto.Message
	maxRequestSize int64 // in bytes
}

// methods are those of the public services, by their full names.
type methods map[string]method

func loadMethods(services []string) (methods, error) {
	found := methods{}
	for _, service := range services {
		descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			return nil, fmt.Errorf("find service %s: %w", service, err)
		}
		described, ok := descriptor.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("%s is not a service", service)
		}
		for i := range described.Methods().Len() {
			added := newMethod(described.Methods().Get(i))
			found[added.name] = added
		}
	}
	return found, nil
}

func newMethod(descriptor protoreflect.MethodDescriptor) method {
	return method{
		name:           fmt.Sprintf("/%s/%s", descriptor.Parent().FullName(), descriptor.Name()),
		input:          descriptor.Input(),
		output:         descriptor.Output(),
		options:        descriptor.Options(),
		maxRequestSize: maxRequestSize(descriptor.Input()),
	}
}
