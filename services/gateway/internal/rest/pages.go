package rest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/openapi"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/docs"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/ops"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// Paths of pages.
const (
	openAPIPath = "/openapi.json"
	livePath    = "/healthz"
	readyPath   = "/readyz"

	// wellKnownPath begins the paths of documents for verifiers (RFC 8615).
	wellKnownPath = "/.well-known/"
)

// pages serves the pages by their paths, and the API at all other paths. It is not an http.ServeMux, which redirects
// and refuses in plain text.
type pages struct {
	exact  map[string]http.Handler
	docs   http.Handler
	api    http.Handler
	health *ops.Health
}

func newPages(more map[string]http.Handler, api http.Handler, health *ops.Health) *pages {
	p := &pages{docs: readOnly(docs.New().ServeHTTP), api: api, health: health}
	p.exact = map[string]http.Handler{
		"/": readOnly(func(w http.ResponseWriter, _ *http.Request) { reply.Redirect(w, "docs/") }),
		openAPIPath: readOnly(func(w http.ResponseWriter, _ *http.Request) {
			reply.JSON(w, http.StatusOK, openapi.Document())
		}),
		livePath: readOnly(func(w http.ResponseWriter, _ *http.Request) {
			reply.JSON(w, http.StatusOK, []byte(`{"status":"SERVING"}`))
		}),
		readyPath: readOnly(p.ready),
	}
	maps.Copy(p.exact, more)
	return p
}

// readOnly returns a handler for a page that can only be read.
func readOnly(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply.Method(w, r, reply.Read, func() { serve(w, r) })
	})
}

// ServeHTTP implements http.Handler.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.health.Draining() || isUnreadBody(r) {
		w.Header().Set("Connection", "close") // Over HTTP/2, net/http sends a GOAWAY instead.
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// Answers hold tokens and personal data (RFC 6749, section 5.1). Handlers of public documents replace this.
	w.Header().Set("Cache-Control", "no-store")
	path := r.URL.Path
	isWellKnown := strings.HasPrefix(path, wellKnownPath)
	if path == openAPIPath || isWellKnown {
		allowAnyOrigin(w, r)
	}
	page, isPage := p.exact[path]
	switch {
	case isPage:
		reply.SetRoute(r, path)
		page.ServeHTTP(w, r)
	case path+"/" == docs.Path || strings.HasPrefix(path, docs.Path):
		reply.SetRoute(r, docs.Path)
		p.docs.ServeHTTP(w, r)
	default:
		if isWellKnown {
			reply.MayBeCached(w) // Errors may not, and replace it.
		}
		p.api.ServeHTTP(w, r)
	}
}

// isUnreadBody reports whether a request announces a body that is not read, as the request is a read. Over HTTP/1,
// net/http would wait for it before it answers, unless the connection ends.
func isUnreadBody(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength != 0 && r.ProtoMajor == 1
}

// allowAnyOrigin allows scripts of every origin to read an answer. It is for documents that are the same for everybody;
// all other answers are for the origin of the gateway, and for clients that are no browsers.
func allowAnyOrigin(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", reply.Read)
		header.Set("Access-Control-Allow-Headers", "*")
		header.Set("Access-Control-Max-Age", "86400") // A day; browsers have shorter bounds of their own.
	}
}

// ready writes the health of each public service and each part: 200 if all services serve, 503 otherwise.
func (p *pages) ready(w http.ResponseWriter, r *http.Request) {
	report, serving := p.health.Report(r.Context())
	body, err := json.Marshal(report)
	if err != nil {
		reply.Error(w, r, apierr.Internal(err))
		return
	}
	code := http.StatusOK
	if !serving {
		code = http.StatusServiceUnavailable
	}
	reply.JSON(w, code, body)
}
