// Package docs serves Swagger UI, from files in the binary.
package docs

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// Path is the path of Swagger UI.
const Path = "/docs/"

// New returns a handler that serves Swagger UI from assets in the binary. The page is rendered once, because the
// Content-Security-Policy must name its inline scripts by their hashes: nothing else may run, and nothing is loaded
// from outside. All URLs of the page are relative to its own, so that a proxy can serve it under any path.
func New() http.Handler {
	ui := v5emb.NewWithConfig(swgui.Config{InternalBasePath: Path})("Gatehouse", "../openapi.json", ".")
	var page pageWriter
	ui.ServeHTTP(&page, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: Path}})
	policy := contentSecurityPolicy(page.body.Bytes())
	assets := loadAssets()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		switch r.URL.Path {
		case strings.TrimSuffix(Path, "/"):
			reply.Redirect(w, "docs/")
		case Path:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(page.body.Bytes()) // It fails if the client has gone.
		default:
			assets.serve(w, r, strings.TrimPrefix(r.URL.Path, Path))
		}
	})
}

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

func contentSecurityPolicy(page []byte) string {
	scripts := []string{"'self'"}
	for _, script := range inlineScript.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(script[1])
		scripts = append(scripts, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src " + strings.Join(scripts, " "),
		"style-src 'self' 'unsafe-inline'", // Swagger UI sets style attributes.
		"img-src 'self' data:",
		"connect-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
}

// pageWriter is an http.ResponseWriter that stores the body.
type pageWriter struct{ body bytes.Buffer }

func (*pageWriter) Header() http.Header              { return http.Header{} }
func (w *pageWriter) Write(part []byte) (int, error) { return w.body.Write(part) }
func (*pageWriter) WriteHeader(int)                  {}
