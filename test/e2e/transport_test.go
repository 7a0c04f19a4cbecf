package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
)

// answer is what a call gave, whatever the transport.
type answer struct {
	message proto.Message // nil if the call failed
	status  *spb.Status   // code 0 if it did not
	http    int           // 0 over gRPC
	header  http.Header   // empty over gRPC
}

// transport makes calls of the contract.
type transport func(ctx context.Context, h *house, method string, request proto.Message, tokens []string) (*answer, error)

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

func overGRPC(ctx context.Context, h *house, short string, request proto.Message, tokens []string) (*answer, error) {
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
	if err := h.conn.Invoke(ctx, "/gatehouse.v1."+short, request, response); err != nil {
		return &answer{status: status.Convert(err).Proto()}, nil
	}
	return &answer{message: response, status: &spb.Status{}}, nil
}

// rawBytes lets a call send bytes that are no message.
type rawBytes struct{}

func (rawBytes) Marshal(message any) ([]byte, error)   { return *message.(*[]byte), nil }
func (rawBytes) Unmarshal(data []byte, into any) error { *into.(*[]byte) = data; return nil }
func (rawBytes) Name() string                          { return "proto" }

var _ encoding.Codec = rawBytes{}

// grpcBytes calls a method by its full name with these bytes.
func grpcBytes(ctx context.Context, h *house, method string, request []byte) *answer {
	var response []byte
	err := h.conn.Invoke(ctx, method, &request, &response, grpc.ForceCodec(rawBytes{}))
	return &answer{status: status.Convert(err).Proto()}
}

// overREST makes the HTTP request that the method's google.api.http annotation describes.
func overREST(ctx context.Context, h *house, short string, request proto.Message, tokens []string) (*answer, error) {
	method, err := methodOf(short)
	if err != nil {
		return nil, err
	}
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	verb, path := route(rule)
	if path == "" {
		return nil, fmt.Errorf("%s has no REST route", short)
	}
	rest := proto.Clone(request) // what is not in the path
	query := url.Values{}
	request.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if variable := "{" + string(field.Name()) + "}"; strings.Contains(path, variable) {
			path = strings.ReplaceAll(path, variable, url.PathEscape(value.String()))
			rest.ProtoReflect().Clear(field)
		} else {
			query.Set(field.JSONName(), value.String()) // The contract has scalars only.
		}
		return true
	})
	var body []byte
	if rule.GetBody() == "*" {
		if body, err = protojson.Marshal(rest); err != nil {
			return nil, err
		}
	} else if len(query) > 0 {
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
	return restRequest(ctx, h, verb, path, header, body, response)
}

func route(rule *annotations.HttpRule) (verb, path string) {
	switch {
	case rule.GetGet() != "":
		return http.MethodGet, rule.GetGet()
	case rule.GetPost() != "":
		return http.MethodPost, rule.GetPost()
	case rule.GetDelete() != "":
		return http.MethodDelete, rule.GetDelete()
	default:
		return "", "" // No other is in the contract yet.
	}
}

// restRequest sends a request as it stands. Into is what a 200 is read into.
func restRequest(
	ctx context.Context, h *house, verb, path string, header http.Header, body []byte, into proto.Message,
) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, verb, h.rest+path, bytes.NewReader(body))
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
