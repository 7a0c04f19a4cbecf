package gateway

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
)

// docsPath is where Swagger UI is.
const docsPath = "/docs/"

// newDocs serves Swagger UI from assets that are part of the binary. The page is made once, because its inline scripts
// must be named by their hashes in the Content-Security-Policy: nothing else may run, and nothing is loaded from
// outside. All URLs of the page are relative to its own, so that a proxy can serve it under any path.
func newDocs() http.Handler {
	ui := v5emb.NewWithConfig(swgui.Config{InternalBasePath: docsPath})("Gatehouse", "../openapi.json", ".")
	var page pageWriter
	ui.ServeHTTP(&page, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: docsPath}})
	policy := contentSecurityPolicy(page.body.Bytes())
	assets := loadDocsAssets()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		switch r.URL.Path {
		case strings.TrimSuffix(docsPath, "/"):
			redirect(w, "docs/")
		case docsPath:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(page.body.Bytes()) // The client went away; there is nobody to tell.
		default:
			assets.serve(w, r, strings.TrimPrefix(r.URL.Path, docsPath))
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

// pageWriter keeps what is written to it.
type pageWriter struct{ body bytes.Buffer }

func (*pageWriter) Header() http.Header              { return http.Header{} }
func (w *pageWriter) Write(part []byte) (int, error) { return w.body.Write(part) }
func (*pageWriter) WriteHeader(int)                  {}
