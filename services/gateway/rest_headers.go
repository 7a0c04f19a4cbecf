package gateway

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// The headers that stand for fields of a request, and these fields. Why is said in
// docs/adr/0009-headers-that-stand-for-fields.md.
const (
	ifMatch        = "If-Match"
	idempotencyKey = "Idempotency-Key"

	versionField   protoreflect.Name = "version"
	requestIDField protoreflect.Name = "request_id"
)

// headerFields are the values that headers give fields.
type headerFields map[protoreflect.Name]protoreflect.Value

type headerFieldsKey struct{}

// takeHeaders reads the headers that stand for fields. On a call that does not have the field it refuses them: a
// precondition that nobody looks at is worse than none.
func takeHeaders(methods restMethods) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
			method, err := methods.of(r)
			var fields headerFields
			if err == nil {
				fields, err = readHeaderFields(r.Header, method.input)
			}
			if err != nil {
				writeErrorTo(w, r, err)
				return
			}
			if len(fields) > 0 {
				r = r.WithContext(context.WithValue(r.Context(), headerFieldsKey{}, fields))
			}
			next(w, r, params)
		}
	}
}

func readHeaderFields(header http.Header, input protoreflect.MessageDescriptor) (headerFields, error) {
	fields := headerFields{}
	for _, known := range []struct {
		name  string
		field protoreflect.Name
		read  func(string) (protoreflect.Value, error)
	}{{ifMatch, versionField, readIfMatch}, {idempotencyKey, requestIDField, readIdempotencyKey}} {
		values := header.Values(known.name)
		switch {
		case len(values) == 0:
			continue
		case len(values) > 1:
			return nil, apierr.MalformedRequest("the header "+known.name+" is given more than once", nil)
		case input.Fields().ByName(known.field) == nil:
			return nil, apierr.MalformedRequest("this call takes no header "+known.name, nil)
		}
		value, err := known.read(strings.TrimSpace(values[0]))
		if err != nil {
			return nil, err
		}
		if value.IsValid() {
			fields[known.field] = value
		}
	}
	return fields, nil
}

// entityTag is one entity tag (RFC 9110, section 8.8.3).
var entityTag = regexp.MustCompile(`^(W/)?"([\x21\x23-\x7e\x80-\xff]*)"$`)

// readIfMatch gives the version that a tag of ours stands for, and no value for `*`, which any version matches. Any
// other tag matches none.
func readIfMatch(text string) (protoreflect.Value, error) {
	if text == "*" {
		return protoreflect.Value{}, nil
	}
	tag := entityTag.FindStringSubmatch(text)
	if tag == nil {
		return protoreflect.Value{}, apierr.MalformedRequest(`the header If-Match is not one entity tag such as "7"`, nil)
	}
	version, err := strconv.ParseInt(tag[2], 10, 64)
	if err != nil || version < 1 || tag[1] != "" || text != entityTagOf(version) {
		return protoreflect.Value{}, apierr.VersionMismatch()
	}
	return protoreflect.ValueOfInt64(version), nil
}

func entityTagOf(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// readIdempotencyKey takes the key as it is, or in quotes, as the IETF's draft of the header has it.
func readIdempotencyKey(text string) (protoreflect.Value, error) {
	if inner, quoted := strings.CutPrefix(text, `"`); quoted && strings.HasSuffix(inner, `"`) {
		text = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.TrimSuffix(inner, `"`))
	}
	if text == "" {
		return protoreflect.Value{}, apierr.MalformedRequest("the header Idempotency-Key is empty", nil)
	}
	return protoreflect.ValueOfString(text), nil
}

// restConn is the edge for the generated handlers: it gives a request the fields that stood in headers,
// and reserves room for the answer.
type restConn struct{ *edge }

// Invoke implements grpc.ClientConnInterface.
func (c restConn) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	fields, _ := ctx.Value(headerFieldsKey{}).(headerFields) // nil for most calls
	for name, value := range fields {
		message, ok := args.(proto.Message)
		if !ok {
			continue
		}
		request := message.ProtoReflect()
		field := request.Descriptor().Fields().ByName(name)
		if request.Has(field) && !request.Get(field).Equal(value) {
			return apierr.MalformedRequest("a header and the field "+string(name)+" say different things", nil)
		}
		request.Set(field, value)
	}
	if err := c.edge.Invoke(ctx, method, args, reply, options...); err != nil {
		return err
	}
	return c.answers.reserveREST(ctx, method, reply)
}

// writeETag gives an answer that is one resource with a version the version as its entity tag.
func writeETag(_ context.Context, w http.ResponseWriter, answer proto.Message) error {
	reflected := answer.ProtoReflect()
	fields := reflected.Descriptor().Fields()
	if fields.Len() != 1 || fields.Get(0).Message() == nil || fields.Get(0).IsList() || !reflected.Has(fields.Get(0)) {
		return nil
	}
	resource := reflected.Get(fields.Get(0)).Message()
	version := resource.Descriptor().Fields().ByName(versionField)
	if version != nil && version.Kind() == protoreflect.Int64Kind {
		w.Header().Set("ETag", entityTagOf(resource.Get(version).Int()))
	}
	return nil
}
