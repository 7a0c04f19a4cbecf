package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

// observed gives each request its id, hands the caller's token and who the client is to the edge, writes one line of
// log when it has ended, and answers a panic.
func observed(log *slog.Logger, proxies trustedProxies, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := callctx.WithRequestID(r.Context(), r.Header.Get(callctx.RequestIDHeader))
		ctx = callctx.WithClient(withToken(ctx, r.Header), proxies.ofHTTP(r))
		w.Header().Set(callctx.RequestIDHeader, callctx.RequestID(ctx))
		observer := &observedWriter{ResponseWriter: w, status: http.StatusOK, route: unmatchedRoute}
		began := time.Now()
		defer func() {
			panicked := recover()
			if panicked == http.ErrAbortHandler { //nolint:errorlint,err113 // As net/http compares it.
				panic(panicked)
			}
			if panicked != nil {
				writeError(observer, apierr.Internal(fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())))
			}
			logRequest(ctx, log, r, observer, time.Since(began))
		}()
		next.ServeHTTP(observer, r.WithContext(ctx))
	})
}

// withToken puts the Authorization headers where a gRPC call has them: in the incoming metadata.
func withToken(ctx context.Context, header http.Header) context.Context {
	tokens := header.Values("Authorization")
	return metadata.NewIncomingContext(ctx, metadata.MD{authn.AuthorizationKey: tokens})
}

func logRequest(ctx context.Context, log *slog.Logger, r *http.Request, w *observedWriter, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case w.status == http.StatusInternalServerError:
		level = slog.LevelError
	case w.status >= http.StatusBadRequest && r.Context().Err() != nil: // The client has gone, which is the cause.
		level = slog.LevelDebug
	case w.status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case w.route == "/healthz" || w.route == "/readyz":
		level = slog.LevelDebug
	}
	if !log.Enabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", loggedMethod(r.Method)),
		slog.String("route", w.route),
		slog.Int("status", w.status),
		slog.Int64("took_us", took.Microseconds()),
		slog.String("client", callctx.ClientFrom(ctx).Address),
	}
	if w.err != nil {
		attributes = append(attributes, slog.String("error", apierr.LogText(w.err)))
	}
	log.LogAttrs(ctx, level, "request", attributes...)
}

// unmatchedRoute is what is logged of a request that no route was found for, over both transports. Its path is not: it
// may hold a token, or anything else that a client did not mean to be there.
const unmatchedRoute = "unmatched"

// observedWriter remembers which route a request took and what was answered, for the log.
type observedWriter struct {
	http.ResponseWriter

	route  string
	status int
	err    error
}

// setRoute sets the route that is logged for a request: a pattern, never the path itself.
func setRoute(w http.ResponseWriter, route string) {
	if observer, ok := w.(*observedWriter); ok {
		observer.route = route
	}
}

// noteRoute sets the route that the generated handlers have found.
func noteRoute(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		setRoute(w, routePattern(r))
		next(w, r, params)
	}
}

// loggedMethod returns the method of a request, which may be any word, if it is one of RFC 9110 or RFC 5789.
func loggedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	default:
		return "other"
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *observedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer beneath.
func (w *observedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
