package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// answer is what a call gave, whatever the transport.
type answer struct {
	message proto.Message // nil if the call failed
	status  *spb.Status   // code 0 if it did not
	http    int           // 0 over gRPC
	header  http.Header   // empty over gRPC
}

// transport makes calls of the contract.
type transport func(ctx context.Context, env *testEnv, method string, request proto.Message, tokens []string) (*answer, error)

var transports = map[string]transport{"gRPC": overGRPC, "REST": overREST}

// methodOf finds a method by its short name ("UserService/ReadUser").
func methodOf(short string) (protoreflect.MethodDescriptor, error) {
	service, name, _ := strings.Cut(short, "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("gatehouse.v1." + service))
	if err != nil {
		return nil, err
	}
	method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
	if method == nil {
		return nil, fmt.Errorf("no method %s", short)
	}
	return method, nil
}

func newResponse(method protoreflect.MethodDescriptor) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}

func overGRPC(ctx context.Context, env *testEnv, short string, request proto.Message, tokens []string) (*answer, error) {
	method, err := methodOf(short)
	if err != nil {
		return nil, err
	}
	response, err := newResponse(method)
	if err != nil {
		return nil, err
	}
	for _, token := range tokens {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", token)
	}
	if err := env.conn.Invoke(ctx, "/gatehouse.v1."+short, request, response); err != nil {
		return &answer{status: status.Convert(err).Proto()}, nil
	}
	return &answer{message: response, status: &spb.Status{}}, nil
}

// rawBytes makes a call send bytes that are no message.
type rawBytes struct{}

func (rawBytes) Marshal(message any) ([]byte, error)   { return *message.(*[]byte), nil }
func (rawBytes) Unmarshal(data []byte, into any) error { *into.(*[]byte) = data; return nil }
func (rawBytes) Name() string                          { return "proto" }

var _ encoding.Codec = rawBytes{}

// grpcBytes calls a method by its full name with these bytes.
func grpcBytes(ctx context.Context, env *testEnv, method string, request []byte) *answer {
	var response []byte
	err := env.conn.Invoke(ctx, method, &request, &response, grpc.ForceCodec(rawBytes{}))
	return &answer{status: status.Convert(err).Proto()}
}

// overREST makes the HTTP request that the method's google.api.http annotation describes.
func overREST(ctx context.Context, env *testEnv, short string, request proto.Message, tokens []string) (*answer, error) {
	method, err := methodOf(short)
	if err != nil {
		return nil, err
	}
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	verb, path := route(rule)
	if path == "" {
		return nil, fmt.Errorf("%s has no REST route", short)
	}
	path, rest, err := fillPath(path, request)
	if err != nil {
		return nil, err
	}
	body, query, err := bodyAndQuery(rule.GetBody(), rest)
	if err != nil {
		return nil, err
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	header := http.Header{"Authorization": tokens}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	response, err := newResponse(method)
	if err != nil {
		return nil, err
	}
	return restRequest(ctx, env, verb, path, header, body, response)
}

// pathVariable is a field in a route: {id}, or {user.id}.
var pathVariable = regexp.MustCompile(`\{[a-z_.]+\}`)

// fillPath stores fields of the request into the path, and gives the request without them.
func fillPath(path string, request proto.Message) (filled string, rest proto.Message, err error) {
	rest = proto.Clone(request)
	filled = pathVariable.ReplaceAllStringFunc(path, func(variable string) string {
		message := rest.ProtoReflect()
		names := strings.Split(strings.Trim(variable, "{}"), ".")
		for _, outer := range names[:len(names)-1] {
			field := message.Descriptor().Fields().ByTextName(outer)
			if !message.Has(field) {
				err = fmt.Errorf("the request has no %s for the path", variable)
				return ""
			}
			message = message.Mutable(field).Message()
		}
		field := message.Descriptor().Fields().ByTextName(names[len(names)-1])
		value := message.Get(field).String()
		message.Clear(field)
		return url.PathEscape(value)
	})
	return filled, rest, err
}

// bodyAndQuery splits what is not in the path as the route says: "*" is all in the body, a name is one field there and
// the rest in the query, "" is all in the query.
func bodyAndQuery(inBody string, rest proto.Message) (body []byte, query url.Values, err error) {
	message := rest.ProtoReflect()
	if inBody == "*" {
		body, err = protojson.Marshal(rest)
		return body, nil, err
	}
	if inBody != "" {
		field := message.Descriptor().Fields().ByTextName(inBody)
		if body, err = protojson.Marshal(message.Get(field).Message().Interface()); err != nil {
			return nil, nil, err
		}
		message.Clear(field)
	}
	query = url.Values{}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if mask, ok := value.Interface().(protoreflect.Message); ok {
			if mask, ok := mask.Interface().(*fieldmaskpb.FieldMask); ok { // Also one that ProtoJSON would not write.
				query.Set(field.JSONName(), strings.Join(mask.GetPaths(), ","))
				message.Clear(field)
			}
		}
		return true
	})
	raw, err := protojson.Marshal(rest)
	if err != nil {
		return nil, nil, err
	}
	var members map[string]any
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, nil, err
	}
	for name, value := range members { // ProtoJSON has strings for times, enums and long numbers.
		query.Set(name, fmt.Sprint(value))
	}
	return body, query, nil
}

func route(rule *annotations.HttpRule) (verb, path string) {
	switch {
	case rule.GetGet() != "":
		return http.MethodGet, rule.GetGet()
	case rule.GetPost() != "":
		return http.MethodPost, rule.GetPost()
	case rule.GetPatch() != "":
		return http.MethodPatch, rule.GetPatch()
	case rule.GetDelete() != "":
		return http.MethodDelete, rule.GetDelete()
	default:
		return "", "" // No other is in the contract yet.
	}
}

// restRequest sends a request as it stands. Into is what a 200 is read into.
func restRequest(
	ctx context.Context, env *testEnv, verb, path string, header http.Header, body []byte, into proto.Message,
) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, verb, env.rest+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	got := &answer{status: &spb.Status{}, http: response.StatusCode, header: response.Header}
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		return nil, fmt.Errorf("the answer %d is %q:\n%s", response.StatusCode, kind, content)
	}
	if response.StatusCode == http.StatusOK {
		got.message = into
		return got, protojson.Unmarshal(content, into)
	}
	return got, protojson.Unmarshal(content, got.status)
}
