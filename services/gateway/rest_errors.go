package gateway

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// writeCallError answers a REST call that failed, in the generated handler or in the service.
func writeCallError(
	_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error,
) {
	writeErrorTo(w, r, callError(r, err))
}

// writeErrorTo is writeError for a request whose precondition may have failed: HTTP has a status for that (RFC 9110,
// section 13.1.1).
func writeErrorTo(w http.ResponseWriter, r *http.Request, err error) {
	mismatch := apierr.ReasonOf(apierr.Status(err)) == gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH
	if mismatch && r.Header.Get(ifMatch) != "" {
		writeErrorAs(w, err, http.StatusPreconditionFailed)
		return
	}
	writeError(w, err)
}

// callError finds out why a call failed. The generated handlers turn a fault of the request into a bare
// INVALID_ARGUMENT whose text quotes it, and it may hold a password: our own words replace it.
func callError(r *http.Request, err error) error {
	if body, ok := r.Body.(*jsonBody); ok && body.fault != nil {
		return body.fault
	}
	if st, ok := status.FromError(err); ok && st.Code() == codes.InvalidArgument &&
		apierr.ReasonOf(st) == gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return apierr.MalformedRequest("malformed path, query or header", nil)
	}
	return err
}

// writeRoutingError answers a request that no generated handler takes.
func writeRoutingError(
	ctx context.Context, mux *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int,
) {
	if ctx.Value(probeKey{}) != nil {
		return
	}
	switch code {
	case http.StatusNotFound:
		writeError(w, apierr.RouteNotFound("route not found: see /docs for the list of routes"))
	case http.StatusMethodNotAllowed:
		methods := strings.Join(methodsOf(mux, r), ", ")
		if r.Method == http.MethodOptions {
			writeOptions(w, methods)
			return
		}
		w.Header().Set("Allow", methods)
		writeError(w, apierr.MethodNotAllowed("method not allowed: use "+methods))
	default:
		writeError(w, apierr.MalformedRequest("malformed path", nil))
	}
}

// writeError answers with a google.rpc.Status in JSON, and with the headers that HTTP wants beside it.
func writeError(w http.ResponseWriter, err error) {
	st := apierr.Status(err)
	writeErrorAs(w, err, httpStatus(st, apierr.ReasonOf(st)))
}

func writeErrorAs(w http.ResponseWriter, err error, code int) {
	st := apierr.Status(err)
	reason := apierr.ReasonOf(st)
	if observer, ok := w.(*observedWriter); ok {
		observer.err = err
	}
	w.Header().Set("Cache-Control", "no-store")
	if challenge := challenges[reason]; challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	for _, detail := range st.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			seconds := math.Ceil(retry.GetRetryDelay().AsDuration().Seconds())
			w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
		}
	}
	body, err := protojson.Marshal(st.Proto())
	if err != nil { // Only for a detail that is not linked in: all are made by apierr, which links them.
		body = []byte(`{"code":13}`)
	}
	writeJSON(w, code, body)
}

// challenges are the values of WWW-Authenticate (RFC 6750, section 3). A wrong password and a bad
// refresh token get none: there is no access token to mend, and a browser must not ask for one.
var challenges = map[gatehousev1.ErrorReason]string{
	gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING: `Bearer realm="gatehouse"`,
	gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID: `Bearer realm="gatehouse", error="invalid_token"`,
	gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED: `Bearer realm="gatehouse", error="invalid_token", ` +
		`error_description="expired"`,
	gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED: `Bearer realm="gatehouse", error="invalid_token", ` +
		`error_description="the session has ended"`,
	gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED: `Bearer realm="gatehouse", error="invalid_token", ` +
		`error_description="the session has expired"`,
}

// httpStatus follows the table of google.rpc.Code but where HTTP has a more exact word.
func httpStatus(st *status.Status, reason gatehousev1.ErrorReason) int {
	switch reason {
	case gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND:
		return http.StatusNotFound
	case gatehousev1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED:
		return http.StatusMethodNotAllowed
	case gatehousev1.ErrorReason_ERROR_REASON_REQUEST_TOO_LARGE:
		return http.StatusRequestEntityTooLarge
	case gatehousev1.ErrorReason_ERROR_REASON_UNSUPPORTED_MEDIA_TYPE:
		return http.StatusUnsupportedMediaType
	default:
		return runtime.HTTPStatusFromCode(st.Code())
	}
}
