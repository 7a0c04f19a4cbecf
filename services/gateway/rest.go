package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/openapi"
)

// Bounds against clients that are slow on purpose. A request has at most 16 KiB, or 256 KiB for
// UpdateUser (request_size.go), and an answer at most 1 MiB.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second

	// idleTimeout is longer than any proxy keeps a connection that it does not use. With a shorter one a proxy would send
	// a request at the moment when the gateway closes, and answer 502. Google's load balancer has 600 s, which cannot be
	// changed, and wants backends to have more; those of AWS and Azure and nginx have 60 to 240 s. What idle connections
	// cost is bounded by their number (connections.go).
	idleTimeout = grpcx.IdleTimeout

	// maxHTTP2Streams are the requests that one connection may have under way: what browsers and net/http expect.
	maxHTTP2Streams = 100

	// http2Window is how much of all bodies of a connection is held before somebody reads it, in bytes: the least that
	// RFC 9113 has.
	http2Window = 64 << 10
)

// publishedMaxAge is for how long verifiers may keep the public keys: half as long as a new one is published before it
// signs.
const publishedMaxAge = "public, max-age=300"

// restServer serves REST, Swagger UI, the OpenAPI document and health over HTTP.
type restServer struct {
	log    *slog.Logger
	health *health
	api    http.Handler
	docs   http.Handler
	server *http.Server

	introspection      *introspection // nil if there is no client that may introspect
	oauthMetadata      []byte
	oauthMetadataPaths []string
}

func newRESTServer(
	ctx context.Context, config Config, edge *edge, health *health, log *slog.Logger,
) (*restServer, error) {
	api, err := newAPI(ctx, edge)
	if err != nil {
		return nil, err
	}
	proxies := trustedProxies(config.TrustedProxies)
	introspection := newIntrospection(config.Introspection, edge)
	metadata, metadataPaths, err := newOAuthMetadata(config.Issuer, introspection != nil)
	if err != nil {
		return nil, err
	}
	s := &restServer{
		log: log, health: health, api: api, docs: newDocs(),
		introspection: introspection, oauthMetadata: metadata, oauthMetadataPaths: metadataPaths,
	}
	s.server = &http.Server{
		Handler:           observed(log, proxies, holdAnswers(edge.calls.limit(limitHeaders(http.HandlerFunc(s.serve))))),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// net/http would answer OPTIONS * by itself, unseen by the log.
		DisableGeneralOptionsHandler: true,
		Protocols:                    protocols(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxHTTP2Streams,
			MaxReceiveBufferPerConnection: http2Window,
			MaxReceiveBufferPerStream:     http2Window,
			MaxReadFrameSize:              http2FrameSize,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, configureHTTP2(s.server)
}

func protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}

// newAPI registers the generated handlers of all public services.
func newAPI(ctx context.Context, edge *edge) (http.Handler, error) {
	methods := loadRESTMethods(edge.methods)
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
		runtime.WithMiddlewares(endProbe, noteRoute, admitFirst(edge, methods), readBody(edge.budget, methods),
			refuseUnread(methods), takeHeaders(methods), completeMask(methods)),
		runtime.WithForwardResponseOption(writeETag),
		runtime.WithForwardResponseRewriter(useEncoded),
		runtime.WithWriteContentLength(),
		runtime.WithErrorHandler(writeCallError),
		runtime.WithRoutingErrorHandler(writeRoutingError),
		// A form must not be taken for a GET, nor a header for the method: neither is in the contract.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		// What clients say in headers goes no further but by code of ours, and what upstreams say is for the gateway.
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
	)
	for name, route := range edge.routes {
		if err := route.rest(ctx, mux, restConn{edge}); err != nil {
			return nil, fmt.Errorf("register the REST routes of %s: %w", name, err)
		}
	}
	return headAsGet(mux), nil
}

func noHeader(string) (string, bool) { return "", false }

// run serves until ctx is done, then lets requests under way end.
func (s *restServer) run(ctx context.Context, listener net.Listener) error {
	s.log.InfoContext(ctx, "serving HTTP", "address", listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- s.server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadlines.Drain)
	defer cancel()
	err := s.server.Shutdown(ctx)
	_ = s.server.Close() // Cuts what has not ended within the time; nothing is left to do about its error.
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) { // It failed when it was to be stopped anyway.
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop HTTP on %s: %w", listener.Addr(), err)
	}
	return nil
}

// serve picks the handler of a path. It is not an http.ServeMux, whose redirects and refusals are plain text.
func (s *restServer) serve(w http.ResponseWriter, r *http.Request) {
	if s.health.draining.Load() || isUnreadBody(r) {
		w.Header().Set("Connection", "close") // Over HTTP/2, net/http makes a GOAWAY of it.
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// Answers hold tokens and personal data (RFC 6749, section 5.1). Handlers whose answers may be kept say so.
	w.Header().Set("Cache-Control", "no-store")
	if isPublicDocument(r.URL.Path) {
		allowAnyOrigin(w, r)
	}
	switch path := r.URL.Path; {
	case path == "/":
		static(w, r, path, func() { redirect(w, "docs/") })
	case path == "/openapi.json":
		static(w, r, path, func() { writeJSON(w, http.StatusOK, openapi.Document()) })
	case path == "/docs" || strings.HasPrefix(path, docsPath):
		static(w, r, docsPath, func() { s.docs.ServeHTTP(w, r) })
	case path == "/healthz":
		static(w, r, path, func() { writeJSON(w, http.StatusOK, []byte(`{"status":"SERVING"}`)) })
	case path == "/readyz":
		static(w, r, path, func() { s.ready(w, r) })
	case slices.Contains(s.oauthMetadataPaths, path):
		s.serveOAuthMetadata(w, r)
	case path == introspectionPath && s.introspection != nil:
		s.introspection.ServeHTTP(w, r)
	case strings.HasPrefix(path, wellKnownPath):
		// What is published there is for verifiers to keep; an error resets this.
		w.Header().Set("Cache-Control", publishedMaxAge)
		s.api.ServeHTTP(w, r)
	default:
		s.api.ServeHTTP(w, r)
	}
}

// static serves what can only be read, under its name in the log.
func static(w http.ResponseWriter, r *http.Request, route string, serve func()) {
	setRoute(w, route)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		serve()
	case http.MethodOptions:
		writeOptions(w, readMethods)
	default:
		w.Header().Set("Allow", readMethods)
		writeError(w, apierr.MethodNotAllowed("method not allowed: use GET"))
	}
}

// isUnreadBody reports whether a request announces a body that is not read, as the request is a read. Over HTTP/1,
// net/http would wait for it before it answers, unless the connection ends.
func isUnreadBody(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength != 0 && r.ProtoMajor == 1
}

// redirect answers with a place that is relative to that of the request, as the client sees it: a proxy may serve the
// gateway under a path of its own, which http.Redirect does not know.
func redirect(w http.ResponseWriter, relative string) {
	w.Header().Set("Location", relative)
	w.WriteHeader(http.StatusFound)
}

// ready reports of each public service and each part whether it works: 200 if all services do, 503 otherwise. Without
// a part, they are slower.
func (s *restServer) ready(w http.ResponseWriter, r *http.Request) {
	services := s.health.status(r.Context(), s.health.services...)
	overall, code := total(services), http.StatusOK
	if overall != healthpb.HealthCheckResponse_SERVING {
		code = http.StatusServiceUnavailable
	}
	body, err := json.Marshal(struct {
		Status   string            `json:"status"`
		Services map[string]string `json:"services"`
		Parts    map[string]string `json:"parts"`
		Faults   []string          `json:"faults,omitempty"` // settings that differ from those of a store
	}{
		overall.String(), statusNames(services), statusNames(s.health.status(r.Context(), s.health.parts...)),
		s.health.issuer.Disagreements(),
	})
	if err != nil {
		writeError(w, apierr.Internal(err))
		return
	}
	writeJSON(w, code, body)
}

func statusNames(statuses map[string]servingStatus) map[string]string {
	names := make(map[string]string, len(statuses))
	for name, status := range statuses {
		names[name] = status.String()
	}
	return names
}

// writeJSON answers with JSON, to which it appends a line break if there is none.
func writeJSON(w http.ResponseWriter, code int, body []byte) {
	if !bytes.HasSuffix(body, []byte("\n")) {
		body = slices.Concat(body, []byte("\n"))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	// An error is that the client went away; there is nobody to tell.
	_, _ = w.Write(body) //nolint:gosec // it is JSON, said to be, and not to be sniffed
}
