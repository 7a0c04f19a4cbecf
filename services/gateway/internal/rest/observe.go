package rest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// observe adds the id, the client and the metadata of each request to its context. It writes one log line when the
// request has ended, and an error after a panic.
func observe(log *slog.Logger, proxies edge.TrustedProxies, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := proxies.Client(edge.ParseAddress(r.RemoteAddr), r.Header.Values(edge.ForwardedFor), r.UserAgent())
		ctx := callctx.WithRequestID(r.Context(), r.Header.Get(callctx.RequestIDHeader))
		ctx = callctx.WithClient(withMetadata(ctx, r.Header), client)
		w.Header().Set(callctx.RequestIDHeader, callctx.RequestID(ctx))
		record := &reply.Record{Route: edge.Unmatched}
		r = r.WithContext(reply.WithRecord(ctx, record))
		observer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		began := time.Now()
		defer func() {
			panicked := recover()
			if panicked == http.ErrAbortHandler { //nolint:errorlint,err113 // As net/http compares it.
				panic(panicked)
			}
			if panicked != nil {
				reply.Error(observer, r, apierr.Internal(fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())))
			}
			logRequest(log, r, record, observer.status, time.Since(began))
		}()
		next.ServeHTTP(observer, r)
	})
}

// withMetadata returns a context with the headers that have a meaning in the incoming metadata of a native gRPC call.
func withMetadata(ctx context.Context, header http.Header) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.MD{
		authn.AuthorizationKey: header.Values("Authorization"),
		edge.IdempotencyKey:    header.Values(edge.IdempotencyKey),
	})
}

func logRequest(log *slog.Logger, r *http.Request, record *reply.Record, status int, took time.Duration) {
	ctx, level := r.Context(), slog.LevelInfo
	switch {
	case status == http.StatusInternalServerError:
		level = slog.LevelError
	case status >= http.StatusBadRequest && ctx.Err() != nil: // The client has gone, which is the cause.
		level = slog.LevelDebug
	case status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case record.Route == livePath || record.Route == readyPath:
		level = slog.LevelDebug
	}
	if !log.Enabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", loggedMethod(r.Method)),
		slog.String("route", record.Route),
		slog.Int("status", status),
		slog.Int64("took_us", took.Microseconds()),
		slog.String("client", callctx.ClientFrom(ctx).Address),
	}
	if record.Err != nil {
		attributes = append(attributes, slog.String("error", apierr.LogText(record.Err)))
	}
	log.LogAttrs(ctx, level, "request", attributes...)
}

// loggedMethod returns the method of a request if it is one of RFC 9110 or RFC 5789, and "other" for any other word.
func loggedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	default:
		return "other"
	}
}

// statusWriter stores the status of an answer for the log.
type statusWriter struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the wrapped writer, for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
