package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// route is one way to call a method over REST, by its google.api.http annotation.
type route struct {
	*edge.Method

	verb     string // of HTTP
	template template
	input    protoreflect.MessageType // of the method

	reads      bool            // a GET, which ignores its body and unknown names in the query
	takesBody  bool            // fields that are in neither path nor query are in the body
	aroundBody int             // levels of the request around the body
	query      map[string]bool // names that the query may have
	mask       *mask           // nil for most routes

	// changesTagged reports whether the method changes a resource that its path names and whose version its answer has
	// as an entity tag.
	changesTagged bool
}

// template is the path of a route, such as "/v1/users/{id}:disable".
type template struct {
	text     string
	segments []string // "" for a variable
	verb     string   // custom, such as "disable"
}

// routes are all routes by the pattern that the runtime reports for them: "POST /v1/users/{id=*}:disable".
type routes map[string]*route

// loadRoutes reads the routes of the methods from the contract.
func loadRoutes(methods edge.Methods) (routes, error) {
	found := routes{}
	for _, method := range methods {
		rule, _ := proto.GetExtension(method.Options, annotations.E_Http).(*annotations.HttpRule)
		for _, binding := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			added, err := newRoute(method, binding)
			if err != nil {
				return nil, fmt.Errorf("read the REST route of %s: %w", method.Name, err)
			}
			// The runtime writes {id=*} for a variable that matches one segment, and the contract {id}.
			found[added.verb+" "+strings.ReplaceAll(added.template.text, "}", "=*}")] = added
		}
	}
	return found, nil
}

func newRoute(method *edge.Method, binding *annotations.HttpRule) (*route, error) {
	verb, path := verbAndPath(binding)
	parsed, err := parseTemplate(path)
	if err != nil {
		return nil, err
	}
	input, err := protoregistry.GlobalTypes.FindMessageByName(method.Input.FullName())
	if err != nil {
		return nil, err
	}
	added := &route{
		Method: method, verb: verb, template: parsed, input: input, reads: verb == http.MethodGet,
		takesBody: binding.GetBody() != "", query: queryNames(method.Input.Fields(), binding, path),
		mask:          maskOf(method.Input, binding.GetBody()),
		changesTagged: verb != http.MethodGet && strings.Contains(path, "{") && taggedMember(method.Output) != nil,
	}
	if added.takesBody && binding.GetBody() != "*" {
		added.aroundBody = 1
	}
	return added, nil
}

// verbAndPath returns the HTTP method and the path of a binding, whose pattern is a field such as get or patch.
func verbAndPath(binding *annotations.HttpRule) (verb, path string) {
	rule := binding.ProtoReflect()
	pattern := rule.WhichOneof(rule.Descriptor().Oneofs().ByName("pattern"))
	if pattern == nil {
		return "", ""
	}
	return strings.ToUpper(string(pattern.Name())), rule.Get(pattern).String()
}

// parseTemplate reports an error for a path with anything but literals, variables of one segment and a custom verb.
func parseTemplate(path string) (template, error) {
	inner, ok := strings.CutPrefix(path, "/")
	if !ok || strings.ContainsAny(path, "*=") {
		return template{}, fmt.Errorf("%q has no path of literals and variables of one segment", path)
	}
	inner, verb, _ := strings.Cut(inner, ":")
	segments := strings.Split(inner, "/")
	for i, segment := range segments {
		if strings.HasPrefix(segment, "{") {
			segments[i] = ""
		}
	}
	return template{text: path, segments: segments, verb: verb}, nil
}

// matches reports whether the runtime matches the template with a path.
func (t template) matches(path string) bool {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(segments) != len(t.segments) {
		return false
	}
	if t.verb != "" {
		last, hasVerb := strings.CutSuffix(segments[len(segments)-1], ":"+t.verb)
		if !hasVerb || last == "" {
			return false
		}
		segments[len(segments)-1] = last
	}
	for i, literal := range t.segments {
		if literal != "" && segments[i] != literal {
			return false
		}
	}
	return true
}

// allowed returns the HTTP methods that a path has, for the header Allow (RFC 9110, section 15.5.6).
func (r routes) allowed(path string) string {
	var verbs []string
	for _, known := range r {
		if known.template.matches(path) && !slices.Contains(verbs, known.verb) {
			verbs = append(verbs, known.verb)
		}
	}
	if slices.Contains(verbs, http.MethodGet) {
		verbs = append(verbs, http.MethodHead)
	}
	order := []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	}
	slices.SortFunc(verbs, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return strings.Join(verbs, ", ")
}

// queryNames returns the names of the fields that are neither in the path nor in the body, in both spellings of
// ProtoJSON.
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
