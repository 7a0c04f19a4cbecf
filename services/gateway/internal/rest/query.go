package rest

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// parseQuery returns the query of a request. It reports an error for what the generated handler would ignore and what
// could change the call: a misspelt `keepCurrent` would log the caller out everywhere. From the query of a read it
// removes names that cannot be a misspelt filter.
func (r *route) parseQuery(raw string) (url.Values, error) {
	if r.reads && len(r.query) == 0 {
		return url.Values{}, nil // No name can stand for a field of the read.
	}
	query, err := url.ParseQuery(raw)
	if err != nil { // The generated handler would ignore what cannot be parsed.
		return nil, apierr.MalformedRequest("malformed query", nil)
	}
	if r.reads { // Such as the `_` that jQuery adds; no field of the contract begins with it.
		maps.DeleteFunc(query, func(name string, _ []string) bool { return strings.HasPrefix(name, "_") })
	}
	var violations []*errdetails.BadRequest_FieldViolation
	for name, values := range query {
		if problem := r.queryProblem(name, values); problem != "" {
			violations = append(violations,
				&errdetails.BadRequest_FieldViolation{Field: truncatedName(name), Description: problem})
		}
	}
	if len(violations) > 0 {
		slices.SortFunc(violations, func(a, b *errdetails.BadRequest_FieldViolation) int {
			return strings.Compare(a.GetField(), b.GetField())
		})
		return nil, apierr.MalformedFields(violations[:min(len(violations), maxViolations)])
	}
	return query, nil
}

// queryProblem returns the description of a violation by a name of the query and its values, or "" if they are valid.
// The error of a generated handler would not name the field.
func (r *route) queryProblem(name string, values []string) string {
	if !r.query[name] {
		return "is not a query parameter of the method"
	}
	noFilter := utilities.NewDoubleArray(nil)
	if runtime.PopulateQueryParameters(r.input.New().Interface(), url.Values{name: values}, noFilter) != nil {
		return "is not a valid value of the field"
	}
	return ""
}

// checkUnusedBody reports an error for a body where the route has none.
func (c *call) checkUnusedBody() error {
	if c.route.takesBody || isEmptyObject(c.body) {
		return nil
	}
	return apierr.MalformedRequest("unexpected body: use the path and the query", nil)
}
