package rest

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

const fieldMask protoreflect.FullName = "google.protobuf.FieldMask"

// mask describes a route whose body is one field of the request, a resource, and whose field mask names the fields of
// the resource to update.
type mask struct {
	resource protoreflect.MessageDescriptor // of the body
	field    protoreflect.FieldDescriptor   // of the request
}

// maskOf returns nil for a request without a field mask.
func maskOf(input protoreflect.MessageDescriptor, body string) *mask {
	resource := input.Fields().ByTextName(body)
	if resource == nil || resource.Message() == nil {
		return nil
	}
	for i := range input.Fields().Len() {
		if field := input.Fields().Get(i); field.Message() != nil && field.Message().FullName() == fieldMask {
			return &mask{resource: resource.Message(), field: field}
		}
	}
	return nil
}

// complete sets the mask in the query that the generated handler reads, in the contract's names. Without a mask, it
// names the members of the body: `{"locale":""}` clears the field, as clients expect of PATCH, which the message alone
// could not express. grpc-gateway would also name the members of a Struct, which are no fields.
func (m *mask) complete(query url.Values, body []byte) error {
	given := slices.Concat(query[m.field.JSONName()], query[m.field.TextName()])
	var paths []string
	switch {
	case len(given) > 1:
		return apierr.MalformedFields([]*errdetails.BadRequest_FieldViolation{
			{Field: m.field.JSONName(), Description: "appears more than once"},
		})
	case len(given) == 1 && given[0] != "":
		paths = strings.Split(given[0], ",")
	default:
		paths = m.inBody(body)
	}
	for i, path := range paths {
		if field := m.resource.Fields().ByJSONName(path); field != nil { // ProtoJSON writes a mask in camelCase.
			paths[i] = field.TextName()
		}
	}
	query.Del(m.field.TextName())
	query.Del(m.field.JSONName())
	if len(paths) > 0 {
		query.Set(m.field.TextName(), strings.Join(paths, ","))
	}
	return nil
}

// checkMerge reports an error for a merge patch (RFC 7396) of a free-form member: it changes a part of the member,
// which an update replaces as a whole. For all other members, a merge patch has the same meaning as any PATCH here.
func (m *mask) checkMerge(raw []byte) error {
	var violations []*errdetails.BadRequest_FieldViolation
	for name, value := range members(raw) {
		field := m.resource.Fields().ByJSONName(name)
		if field == nil {
			field = m.resource.Fields().ByTextName(name)
		}
		if field != nil && field.Message() != nil && field.Message().FullName() == edge.FreeForm && value[0] == '{' {
			violations = append(violations, &errdetails.BadRequest_FieldViolation{
				Field: truncatedName(name), Description: "cannot be merged: replace it as a whole with " + jsonType,
			})
		}
	}
	if len(violations) > 0 {
		return apierr.MalformedFields(violations)
	}
	return nil
}

// inBody returns the members of the body that the resource has. Decoding rejects all others.
func (m *mask) inBody(body []byte) []string {
	var paths []string
	for name := range members(body) {
		if m.resource.Fields().ByJSONName(name) != nil || m.resource.Fields().ByTextName(name) != nil {
			paths = append(paths, name)
		}
	}
	return paths
}

// maxMembers bounds how many members of an object are read: no resource has so many fields.
const maxMembers = 64

// members returns the names and values of a JSON object, at most maxMembers, and none of anything else.
func members(raw []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
			return
		}
		for count := 0; count < maxMembers && decoder.More(); count++ {
			name, value, err := member(decoder)
			if err != nil || !yield(name, value) {
				return
			}
		}
	}
}
