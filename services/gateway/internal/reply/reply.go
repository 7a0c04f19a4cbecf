// Package reply writes the answers of the HTTP port that no generated handler writes: JSON, errors, OPTIONS.
package reply

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// Read lists the methods of a path that can only be read.
const Read = "GET, HEAD"

// JSON writes an answer of JSON, and appends a line break if it has none.
func JSON(w http.ResponseWriter, code int, body []byte) {
	if !bytes.HasSuffix(body, []byte("\n")) {
		body = slices.Concat(body, []byte("\n"))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	// It fails if the client has gone.
	_, _ = w.Write(body)
}

// Options writes the answer to an OPTIONS request for a path that has these methods (RFC 9110, section 9.3.7).
func Options(w http.ResponseWriter, methods string) {
	w.Header().Set("Allow", methods+", OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}

// Method calls serve if the method of a request is one of methods, such as "GET, HEAD". Otherwise it writes the answer
// to OPTIONS, or METHOD_NOT_ALLOWED.
func Method(w http.ResponseWriter, r *http.Request, methods string, serve func()) {
	switch {
	case slices.Contains(strings.Split(methods, ", "), r.Method):
		serve()
	case r.Method == http.MethodOptions:
		Options(w, methods)
	default:
		MethodNotAllowed(w, r, methods)
	}
}

// MethodNotAllowed writes METHOD_NOT_ALLOWED for a path that has these methods (RFC 9110, section 15.5.6).
func MethodNotAllowed(w http.ResponseWriter, r *http.Request, methods string) {
	w.Header().Set("Allow", methods)
	Error(w, r, apierr.MethodNotAllowed("method not allowed: use "+methods))
}

// Redirect writes a redirect to a path that is relative to that of the request as the client sees it: a proxy may serve
// the gateway under a path of its own, which http.Redirect does not know.
func Redirect(w http.ResponseWriter, relative string) {
	w.Header().Set("Location", relative)
	w.WriteHeader(http.StatusFound)
}

// MayBeCached allows verifiers to cache an answer for half as long as a new key is published before it signs.
func MayBeCached(w http.ResponseWriter) { w.Header().Set("Cache-Control", "public, max-age=300") }
