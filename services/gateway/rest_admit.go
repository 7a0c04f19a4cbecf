package gateway

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// restMethods are the full names of the methods by their REST routes ("GET /v1/users/{id}").
type restMethods map[string]string

// loadRESTMethods reads the routes of the services from the contract.
func loadRESTMethods(services []string) (restMethods, error) {
	methods := restMethods{}
	for _, service := range services {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			return nil, fmt.Errorf("find service %s: %w", service, err)
		}
		descriptor, ok := found.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("%s is not a service", service)
		}
		for i := range descriptor.Methods().Len() {
			methods.add(descriptor.Methods().Get(i))
		}
	}
	return methods, nil
}

func (m restMethods) add(method protoreflect.MethodDescriptor) {
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	for _, binding := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		for verb, path := range map[string]string{
			http.MethodGet: binding.GetGet(), http.MethodPost: binding.GetPost(), http.MethodPut: binding.GetPut(),
			http.MethodPatch: binding.GetPatch(), http.MethodDelete: binding.GetDelete(),
		} {
			m[verb+" "+path] = fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
		}
	}
}

// admitFirst checks that the caller may use the method of a route before the body is read, as native gRPC does before
// it reads the message: both transports then refuse a stranger with the same words, whatever the stranger sends.
func admitFirst(edge *edge, methods restMethods) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
			pattern, _ := runtime.HTTPPattern(r.Context())
			// A variable that takes one segment is written {id=*} by the runtime and {id} in the contract.
			route := r.Method + " " + strings.ReplaceAll(pattern.String(), "=*}", "}")
			method, known := methods[route]
			if !known {
				writeError(w, apierr.Internal(fmt.Errorf("no method has the route %s", route)))
				return
			}
			if _, _, err := edge.admit(r.Context(), method); err != nil {
				writeError(w, err)
				return
			}
			next(w, r, params)
		}
	}
}
