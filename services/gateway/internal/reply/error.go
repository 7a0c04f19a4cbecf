package reply

import (
	"math"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// Error writes a google.rpc.Status in JSON, with the headers that HTTP has for it.
func Error(w http.ResponseWriter, r *http.Request, err error) {
	st := apierr.Status(err)
	ErrorAs(w, r, err, httpStatus(r, st, apierr.ReasonOf(st)))
}

// ErrorAs is Error with another HTTP status than that of the error.
func ErrorAs(w http.ResponseWriter, r *http.Request, err error, code int) {
	setError(r, err)
	st := apierr.Status(err)
	w.Header().Set("Cache-Control", "no-store")
	if challenge := challenges[apierr.ReasonOf(st)]; challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	for _, detail := range st.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			seconds := math.Ceil(retry.GetRetryDelay().AsDuration().Seconds())
			w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
		}
	}
	body, err := protojson.Marshal(st.Proto())
	if err != nil { // Only for a detail that is not linked in: apierr makes and links all of them.
		body = []byte(`{"code":13}`)
	}
	JSON(w, code, body)
}

// challenges are the values of WWW-Authenticate (RFC 6750, section 3). A wrong password and a bad refresh token have
// none: there is no access token to replace, and a browser must not open a log-in dialog.
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

// exactStatuses are the statuses of HTTP that are more exact than those of google.rpc.Code.
var exactStatuses = map[gatehousev1.ErrorReason]int{
	gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND:        http.StatusNotFound,
	gatehousev1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED:     http.StatusMethodNotAllowed,
	gatehousev1.ErrorReason_ERROR_REASON_REQUEST_TOO_LARGE:      http.StatusRequestEntityTooLarge,
	gatehousev1.ErrorReason_ERROR_REASON_UNSUPPORTED_MEDIA_TYPE: http.StatusUnsupportedMediaType,
}

func httpStatus(r *http.Request, st *status.Status, reason gatehousev1.ErrorReason) int {
	if exact, ok := exactStatuses[reason]; ok {
		return exact
	}
	if reason == gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH && r.Header.Get("If-Match") != "" {
		return http.StatusPreconditionFailed // RFC 9110, section 13.1.1.
	}
	return runtime.HTTPStatusFromCode(st.Code())
}
