package gateway

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const fieldMask protoreflect.FullName = "google.protobuf.FieldMask"

// patch is what the contract says of a method whose body is one field, and which a mask tells what of it to change.
type patch struct {
	resource protoreflect.MessageDescriptor // of the body
	mask     protoreflect.FieldDescriptor
}

// patchOf gives nil for a method that is none.
func patchOf(input protoreflect.MessageDescriptor, body string) *patch {
	resource := input.Fields().ByTextName(body)
	if resource == nil || resource.Message() == nil {
		return nil
	}
	for i := range input.Fields().Len() {
		if field := input.Fields().Get(i); field.Message() != nil && field.Message().FullName() == fieldMask {
			return &patch{resource: resource.Message(), mask: field}
		}
	}
	return nil
}

// completeMask gives the generated handlers the mask that they want, in the query, with the contract's names. Without
// one, it is what stands in the body: `{"locale":""}` empties the field, as everybody expects of PATCH, which the
// message alone could not say. grpc-gateway's own way goes into a Struct as well, whose members are no fields.
func completeMask(methods restMethods) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
			method, err := methods.of(r)
			if err == nil && method.patch != nil {
				err = method.patch.complete(r)
			}
			if err != nil {
				writeError(w, err)
				return
			}
			next(w, r, params)
		}
	}
}

func (p *patch) complete(r *http.Request) error {
	query := r.URL.Query()
	given := slices.Concat(query[p.mask.JSONName()], query[p.mask.TextName()])
	var paths []string
	switch {
	case len(given) > 1:
		return apierr.MalformedFields([]*errdetails.BadRequest_FieldViolation{
			{Field: p.mask.JSONName(), Description: "appears more than once"},
		})
	case len(given) == 1 && given[0] != "":
		paths = strings.Split(given[0], ",")
	default:
		paths = p.inBody(r)
	}
	for i, path := range paths {
		if field := p.resource.Fields().ByJSONName(path); field != nil { // ProtoJSON writes a mask in camelCase.
			paths[i] = field.TextName()
		}
	}
	query.Del(p.mask.TextName())
	query.Del(p.mask.JSONName())
	if len(paths) > 0 {
		query.Set(p.mask.TextName(), strings.Join(paths, ","))
	}
	setQuery(r, query.Encode())
	return nil
}

// checkMerge refuses a merge patch (RFC 7396) of a free-form member: it means to change some of what is in the member,
// which an update replaces as a whole. For all other members, a merge patch means what any PATCH does here.
func (p *patch) checkMerge(raw []byte) error {
	var faults []*errdetails.BadRequest_FieldViolation
	for name, value := range members(raw) {
		field := p.resource.Fields().ByJSONName(name)
		if field == nil {
			field = p.resource.Fields().ByTextName(name)
		}
		if field != nil && field.Message() != nil && field.Message().FullName() == freeForm && value[0] == '{' {
			faults = append(faults, &errdetails.BadRequest_FieldViolation{
				Field: shown(name), Description: "cannot be merged: replace it as a whole with " + jsonType,
			})
		}
	}
	if len(faults) > 0 {
		return apierr.MalformedFields(faults)
	}
	return nil
}

func cloneURL(original *url.URL) *url.URL {
	clone := *original
	return &clone
}

// inBody are the members of the body that the resource has. What else there is, decoding refuses.
func (p *patch) inBody(r *http.Request) []string {
	body, ok := r.Body.(*jsonBody)
	if !ok {
		return nil
	}
	var paths []string
	for name := range members(body.raw) {
		if p.resource.Fields().ByJSONName(name) != nil || p.resource.Fields().ByTextName(name) != nil {
			paths = append(paths, name)
		}
	}
	return paths
}

// maxMembers bounds how many members of an object are looked at: no resource has so many fields.
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
