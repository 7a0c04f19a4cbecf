package gateway

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
)

// headAsGet answers HEAD as RFC 9110, section 9.3.2 wants: like GET, and net/http leaves the body out.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(r.Context())
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// probeKey marks a request that only asks whether there is a route for it.
type probeKey struct{}

// endProbe ends such a request where a route was found, before anything is done.
func endProbe(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		if found, ok := r.Context().Value(probeKey{}).(*bool); ok {
			*found = true
			return
		}
		next(w, r, params)
	}
}

// methodsOf lists the HTTP methods that the path has, for the Allow header of a 405 (RFC 9110, section 15.5.6). The
// generated routes keep that to themselves, so each method is tried with a probe.
func methodsOf(mux http.Handler, r *http.Request) []string {
	var methods []string
	for _, method := range []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		found := false
		probe := r.Clone(context.WithValue(r.Context(), probeKey{}, &found))
		probe.Method, probe.Body = method, http.NoBody
		mux.ServeHTTP(&pageWriter{}, probe)
		if found {
			methods = append(methods, method)
		}
		if found && method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	return methods
}
