package gateway

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// The headers that stand for fields of a request, and these fields. Why is said in
// docs/adr/0009-http-header-mapping.md.
const (
	ifMatch        = "If-Match"
	ifNoneMatch    = "If-None-Match"
	idempotencyKey = "Idempotency-Key"

	versionField   protoreflect.Name = "version"
	requestIDField protoreflect.Name = "request_id"
)

// headerFields are the values that headers give fields.
type headerFields map[protoreflect.Name]protoreflect.Value

type headerFieldsKey struct{}

// takeHeaders reads the headers that stand for fields of the call, and ignores those that stand for none.
func takeHeaders(methods restMethods) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
			r.Header.Del("Grpc-Timeout") // The generated handlers would read it: it is of gRPC, not of this API.
			method, err := methods.of(r)
			var fields headerFields
			if err == nil {
				fields, err = method.readHeaderFields(r.Header)
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

func (m restMethod) readHeaderFields(header http.Header) (headerFields, error) {
	if err := m.checkPreconditions(header); err != nil {
		return nil, err
	}
	fields := headerFields{}
	for _, known := range []struct {
		name  string
		field protoreflect.Name
		read  func([]string) (protoreflect.Value, error)
	}{{ifMatch, versionField, readIfMatch}, {idempotencyKey, requestIDField, readIdempotencyKey}} {
		values := header.Values(known.name)
		if len(values) == 0 || m.input.Fields().ByName(known.field) == nil {
			continue
		}
		value, err := known.read(values)
		if err != nil {
			return nil, err
		}
		if value.IsValid() {
			fields[known.field] = value
		}
	}
	return fields, nil
}

// checkPreconditions refuses a precondition that the call cannot check, where ignoring it could overwrite a change: on
// a change of a resource with an entity tag. Everywhere else it is ignored. Those by date always are, as RFC 9110,
// sections 13.1.3 and 13.1.4 want of a server that sends no Last-Modified.
func (m restMethod) checkPreconditions(header http.Header) error {
	takesVersion := m.input.Fields().ByName(versionField) != nil
	has := func(name string) bool { return strings.Join(header.Values(name), "") != "" }
	switch {
	case m.changesTagged && !takesVersion && has(ifMatch):
		return apierr.MalformedRequest("the method does not support conditional requests: send it without "+ifMatch, nil)
	case (m.changesTagged || takesVersion) && has(ifNoneMatch):
		return apierr.MalformedRequest("unsupported header "+ifNoneMatch+": send "+ifMatch, nil)
	default:
		return nil
	}
}

// entityTags are one or more entity tags (RFC 9110, sections 8.8.3 and 13.1.1), and ownTag is one that stands for a
// version: as the gateway sends it, or as a proxy rewrites it that compresses the answer. nginx makes it weak; Apache
// appends the name of the coding.
var (
	entityTags = regexp.MustCompile(`^(W/)?"[\x21\x23-\x7e\x80-\xff]*"([ \t]*,[ \t]*(W/)?"[\x21\x23-\x7e\x80-\xff]*")*$`)
	ownTag     = regexp.MustCompile(`(?:W/)?"([1-9][0-9]*)(?:-gzip|-br)?"`)
)

// readIfMatch returns the version that the tags stand for, or no value for `*`, which any version matches. Tags that
// are not of the gateway match no version.
func readIfMatch(values []string) (protoreflect.Value, error) {
	text := strings.TrimSpace(strings.Join(values, ","))
	if text == "*" {
		return protoreflect.Value{}, nil
	}
	if !entityTags.MatchString(text) {
		return protoreflect.Value{}, apierr.MalformedRequest(`the header If-Match is not an entity tag such as "7"`, nil)
	}
	versions := map[int64]bool{}
	for _, tag := range ownTag.FindAllStringSubmatch(text, -1) {
		if version, err := strconv.ParseInt(tag[1], 10, 64); err == nil {
			versions[version] = true
		}
	}
	switch len(versions) {
	case 0:
		return protoreflect.Value{}, apierr.UnknownEntityTag()
	case 1:
		return protoreflect.ValueOfInt64(slices.Collect(maps.Keys(versions))[0]), nil
	default:
		return protoreflect.Value{}, apierr.MalformedRequest("the header If-Match contains more than one version", nil)
	}
}

func entityTagOf(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// readIdempotencyKey returns the key, which may be in quotes, as the IETF's draft of the header has it.
func readIdempotencyKey(values []string) (protoreflect.Value, error) {
	if len(values) > 1 {
		return protoreflect.Value{}, apierr.MalformedRequest("the header Idempotency-Key appears more than once", nil)
	}
	text := strings.TrimSpace(values[0])
	if inner, quoted := strings.CutPrefix(text, `"`); quoted && strings.HasSuffix(inner, `"`) {
		text = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.TrimSuffix(inner, `"`))
	}
	if text == "" {
		return protoreflect.Value{}, apierr.MalformedRequest("the header Idempotency-Key is empty", nil)
	}
	return protoreflect.ValueOfString(text), nil
}

func errHeaderContradicts(field protoreflect.Name) error {
	return apierr.MalformedRequest("a header contradicts the field "+string(field), nil)
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
			return errHeaderContradicts(name)
		}
		request.Set(field, value)
	}
	if err := c.edge.Invoke(ctx, method, args, reply, options...); err != nil {
		return err
	}
	return c.answers.reserveREST(ctx, method, reply)
}

// writeETag sends the version of the resource that an answer consists of as its entity tag.
func writeETag(_ context.Context, w http.ResponseWriter, answer proto.Message) error {
	reflected := answer.ProtoReflect()
	member := taggedMember(reflected.Descriptor())
	if member == nil || !reflected.Has(member) {
		return nil
	}
	resource := reflected.Get(member).Message()
	w.Header().Set("ETag", entityTagOf(resource.Get(resource.Descriptor().Fields().ByName(versionField)).Int()))
	return nil
}

// taggedMember returns the only member of an answer, if that is a resource with a version, and nil otherwise.
func taggedMember(output protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	if output.Fields().Len() != 1 {
		return nil
	}
	member := output.Fields().Get(0)
	if member.Message() == nil || member.IsList() || member.IsMap() {
		return nil
	}
	version := member.Message().Fields().ByName(versionField)
	if version == nil || version.Kind() != protoreflect.Int64Kind {
		return nil
	}
	return member
}
