package gateway

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// restMethods are the methods by their REST routes ("GET /v1/users/{id}").
type restMethods map[string]restMethod

// restMethod is what the contract says of a route.
type restMethod struct {
	method

	reads      bool            // whether it is a GET, whose body and unknown names in the query change nothing
	takesBody  bool            // what is neither in the path nor in the query is in the body
	aroundBody int             // levels of the request around what is in the body
	query      map[string]bool // names that the query may have
	patch      *patch          // nil for most

	// changesTagged reports whether the method changes a resource that its path names and whose version its answer has
	// as an entity tag.
	changesTagged bool
}

// loadRESTMethods reads the routes of the methods from the contract.
func loadRESTMethods(methods methods) restMethods {
	found := restMethods{}
	for _, method := range methods {
		found.add(method)
	}
	return found
}

func (m restMethods) add(method method) {
	rule, _ := proto.GetExtension(method.options, annotations.E_Http).(*annotations.HttpRule)
	for _, binding := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		for verb, path := range map[string]string{
			http.MethodGet: binding.GetGet(), http.MethodPost: binding.GetPost(), http.MethodPut: binding.GetPut(),
			http.MethodPatch: binding.GetPatch(), http.MethodDelete: binding.GetDelete(),
		} {
			added := restMethod{
				method: method, reads: verb == http.MethodGet,
				takesBody: binding.GetBody() != "", query: queryNames(method.input.Fields(), binding, path),
				patch:         patchOf(method.input, binding.GetBody()),
				changesTagged: verb != http.MethodGet && strings.Contains(path, "{") && taggedMember(method.output) != nil,
			}
			if added.takesBody && binding.GetBody() != "*" {
				added.aroundBody = 1
			}
			m[verb+" "+path] = added
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

// routePattern returns the path of the contract that the runtime has found for a request.
func routePattern(r *http.Request) string {
	pattern, _ := runtime.HTTPPattern(r.Context())
	// A variable that takes one segment is written {id=*} by the runtime and {id} in the contract.
	return strings.ReplaceAll(pattern.String(), "=*}", "}")
}

// of finds the method of a request for which the runtime has found a route.
func (m restMethods) of(r *http.Request) (restMethod, error) {
	route := r.Method + " " + routePattern(r)
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
