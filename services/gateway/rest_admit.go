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

// restMethods are the methods by their REST routes ("GET /v1/users/{id}").
type restMethods map[string]restMethod

// restMethod is what the contract says of a route.
type restMethod struct {
	name      string // full, with slashes as gRPC has it
	input     protoreflect.MessageDescriptor
	takesBody bool            // what is neither in the path nor in the query is in the body
	query     map[string]bool // names that the query may have
	patch     *patch          // nil for most
}

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
			m[verb+" "+path] = restMethod{
				name:      fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name()),
				input:     method.Input(),
				takesBody: binding.GetBody() != "", query: queryNames(method.Input().Fields(), binding, path),
				patch: patchOf(method.Input(), binding.GetBody()),
			}
		}
	}
}

// queryNames are the names of the fields that are neither in the path nor in the body, in both spellings of ProtoJSON.
func queryNames(fields protoreflect.FieldDescriptors, binding *annotations.HttpRule, path string) map[string]bool {
	names := map[string]bool{}
	for i := range fields.Len() {
		field := fields.Get(i)
		inPath := strings.Contains(path, "{"+field.TextName()+"}") || strings.Contains(path, "{"+field.TextName()+".")
		if binding.GetBody() != "*" && binding.GetBody() != field.TextName() && !inPath {
			names[field.JSONName()], names[field.TextName()] = true, true
		}
	}
	return names
}

// of finds the method of a request for which the runtime has found a route.
func (m restMethods) of(r *http.Request) (restMethod, error) {
	pattern, _ := runtime.HTTPPattern(r.Context())
	// A variable that takes one segment is written {id=*} by the runtime and {id} in the contract.
	route := r.Method + " " + strings.ReplaceAll(pattern.String(), "=*}", "}")
	method, known := m[route]
	if !known {
		return method, apierr.Internal(fmt.Errorf("no method has the route %s", route))
	}
	return method, nil
}

// admitFirst checks that the caller may use the method of a route before the body is read, as native gRPC does before
// it reads the message: both transports then refuse a stranger with the same words, whatever the stranger sends.
func admitFirst(edge *edge, methods restMethods) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
			method, err := methods.of(r)
			if err == nil {
				_, _, err = edge.admit(r.Context(), method.name)
			}
			if err != nil {
				writeError(w, err)
				return
			}
			next(w, r, params)
		}
	}
}
