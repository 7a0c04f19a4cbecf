package gateway

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// refuseUnread refuses what the generated handlers would not look at and what could change the call: a name in the
// query that the contract does not have there, and a body where it has none. Misspelt, `keepCurrent` would else log the
// caller out everywhere. On reads it drops what cannot be a misspelt filter.
func refuseUnread(methods restMethods) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
			method, err := methods.of(r)
			if err == nil {
				err = method.unread(r)
			}
			if err != nil {
				writeError(w, err)
				return
			}
			next(w, r, params)
		}
	}
}

func (m restMethod) unread(r *http.Request) error {
	if m.reads && len(m.query) == 0 {
		setQuery(r, "") // The read has nothing that a name could have been meant for.
		return nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // What could not be read would be left out without a word.
		return apierr.MalformedRequest("malformed query", nil)
	}
	if m.reads && dropCacheBusters(query) {
		setQuery(r, query.Encode())
	}
	var faults []*errdetails.BadRequest_FieldViolation
	for name, values := range query {
		if fault := m.queryFault(name, values); fault != "" {
			faults = append(faults, &errdetails.BadRequest_FieldViolation{Field: shown(name), Description: fault})
		}
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b *errdetails.BadRequest_FieldViolation) int {
			return strings.Compare(a.GetField(), b.GetField())
		})
		return apierr.MalformedFields(faults[:min(len(faults), maxFaultsTold)])
	}
	if body, ok := r.Body.(*jsonBody); ok && !m.takesBody && !isEmptyObject(body.raw) {
		return apierr.MalformedRequest("unexpected body: use the path and the query", nil)
	}
	return nil
}

// dropCacheBusters removes names that begin with an underscore, such as the `_` that jQuery adds, and reports whether
// there are any. No field of the contract begins so.
func dropCacheBusters(query url.Values) bool {
	before := len(query)
	maps.DeleteFunc(query, func(name string, _ []string) bool { return strings.HasPrefix(name, "_") })
	return len(query) < before
}

func setQuery(r *http.Request, query string) {
	r.URL = cloneURL(r.URL)
	r.URL.RawQuery = query
}

// queryFault tells what is wrong with a name of the query and its values, or "" if nothing is. The generated handlers
// would say of a value no more than that one cannot be read.
func (m restMethod) queryFault(name string, values []string) string {
	if !m.query[name] {
		return "is not a query parameter of the method"
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.input.FullName())
	if err != nil {
		return "" // The generated handlers have it linked in.
	}
	nothingElsewhere := utilities.NewDoubleArray(nil)
	if runtime.PopulateQueryParameters(kind.New().Interface(), url.Values{name: values}, nothingElsewhere) != nil {
		return "is not a valid value of the field"
	}
	return ""
}
