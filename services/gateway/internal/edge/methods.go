package edge

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// Service is a public service and the connection that its calls go to.
type Service struct {
	Name string // full, such as "gatehouse.v1.UserService"
	Conn grpc.ClientConnInterface
}

// Services returns the public services in the order of their names. A service that is not here is not reachable from
// outside.
func Services(cache, store grpc.ClientConnInterface) []Service {
	return []Service{
		{gatehousev1.AdminService_ServiceDesc.ServiceName, cache},
		{gatehousev1.KeyService_ServiceDesc.ServiceName, store},
		{gatehousev1.SessionService_ServiceDesc.ServiceName, cache},
		{gatehousev1.UserService_ServiceDesc.ServiceName, cache},
	}
}

// Method describes a method of the contract.
type Method struct {
	Name           string // full, such as "/gatehouse.v1.UserService/ReadUser"
	Input          protoreflect.MessageDescriptor
	Output         protoreflect.MessageDescriptor
	Options        proto.Message
	MaxRequestSize int64 // in bytes

	conn      grpc.ClientConnInterface
	requestID protoreflect.FieldDescriptor // of Input; nil for most methods
}

// Methods are the methods of the public services by their full names.
type Methods map[string]*Method

// loadMethods returns the methods of these services. It reports an error if the contract does not have a service.
func loadMethods(services []Service) (Methods, error) {
	methods := Methods{}
	for _, service := range services {
		descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service.Name))
		if err != nil {
			return nil, fmt.Errorf("find service %s: %w", service.Name, err)
		}
		described, ok := descriptor.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("%s is not a service", service.Name)
		}
		for i := range described.Methods().Len() {
			method := newMethod(described.Methods().Get(i), service.Conn)
			methods[method.Name] = method
		}
	}
	return methods, nil
}

func newMethod(descriptor protoreflect.MethodDescriptor, conn grpc.ClientConnInterface) *Method {
	return &Method{
		Name:           fmt.Sprintf("/%s/%s", descriptor.Parent().FullName(), descriptor.Name()),
		Input:          descriptor.Input(),
		Output:         descriptor.Output(),
		Options:        descriptor.Options(),
		MaxRequestSize: maxRequestSize(descriptor.Input()),
		conn:           conn,
		requestID:      descriptor.Input().Fields().ByName(requestIDField),
	}
}
