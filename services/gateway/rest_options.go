package gateway

import (
	"net/http"
	"strings"
)

// readMethods are the methods of what can only be read.
const readMethods = "GET, HEAD"

// wellKnownPath begins the paths of what is published for verifiers (RFC 8615).
const wellKnownPath = "/.well-known/"

// isPublicDocument reports whether a path has a document that is the same for everybody.
func isPublicDocument(path string) bool {
	return path == "/openapi.json" || strings.HasPrefix(path, wellKnownPath)
}

// allowAnyOrigin lets scripts of every origin read an answer. That is for public documents only: everything else is for
// the origin of the gateway, and for programs that are no browser.
func allowAnyOrigin(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", readMethods)
		header.Set("Access-Control-Allow-Headers", "*")
		header.Set("Access-Control-Max-Age", "86400") // A day; browsers have shorter bounds of their own.
	}
}

// writeOptions answers an OPTIONS request for a path that has these methods (RFC 9110, section 9.3.7).
func writeOptions(w http.ResponseWriter, methods string) {
	w.Header().Set("Allow", methods+", OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}
