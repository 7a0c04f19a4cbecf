package callctx

import (
	"context"
	"log/slog"
)

// logKey is the attribute of the request id in a log.
const logKey = "request_id"

// LogHandler is a slog.Handler that adds the request id to each record that is logged with the context of a request.
type LogHandler struct{ next slog.Handler }

// NewLogHandler returns a handler that passes records on to next.
func NewLogHandler(next slog.Handler) *LogHandler { return &LogHandler{next} }

// Enabled implements slog.Handler.
func (h *LogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *LogHandler) Handle(ctx context.Context, record slog.Record) error {
	if id := RequestID(ctx); id != "" {
		record = record.Clone()
		record.AddAttrs(slog.String(logKey, id))
	}
	return h.next.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return NewLogHandler(h.next.WithAttrs(attrs))
}

// WithGroup implements slog.Handler.
func (h *LogHandler) WithGroup(name string) slog.Handler {
	return NewLogHandler(h.next.WithGroup(name))
}
