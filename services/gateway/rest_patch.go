package gateway

import (
	"bytes"
	"encoding/json"
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
			{Field: p.mask.JSONName(), Description: "is given more than once"},
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
	r.URL = cloneURL(r.URL)
	r.URL.RawQuery = query.Encode()
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
	for _, name := range memberNames(body.raw) {
		if p.resource.Fields().ByJSONName(name) != nil || p.resource.Fields().ByTextName(name) != nil {
			paths = append(paths, name)
		}
	}
	return paths
}

// memberNames are those of a JSON object, none of anything else, and at most 64: no resource has so many fields.
func memberNames(raw []byte) []string {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil
	}
	var names []string
	for len(names) < 64 && decoder.More() {
		name, _, err := member(decoder)
		if err != nil {
			break
		}
		names = append(names, name)
	}
	return names
}
