package requestid

import (
	"context"
	"log/slog"
)

// logKey names the id in a log.
const logKey = "request_id"

// Handler is a slog.Handler that adds the id of the request to every record which is logged with the context of one.
type Handler struct{ next slog.Handler }

// NewHandler returns a handler that passes records on to next.
func NewHandler(next slog.Handler) *Handler { return &Handler{next} }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, record slog.Record) error {
	if id := FromContext(ctx); id != "" {
		record = record.Clone()
		record.AddAttrs(slog.String(logKey, id))
	}
	return h.next.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return NewHandler(h.next.WithAttrs(attrs))
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler { return NewHandler(h.next.WithGroup(name)) }
