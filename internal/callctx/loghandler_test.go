package callctx_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

func TestHandler(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(callctx.NewLogHandler(slog.NewTextHandler(&text, nil))).With("service", "store")
	ctx := callctx.WithRequestID(t.Context(), "mine")
	for name, ctx := range map[string]context.Context{"of_a_request": ctx, "outside_a_request": t.Context()} {
		t.Run(name, func(t *testing.T) {
			text.Reset()
			log.WarnContext(ctx, "something failed", "error", "why")
			hasID := strings.Count(text.String(), "request_id=mine") == 1
			if hasID != (name == "of_a_request") || !strings.Contains(text.String(), "service=store") {
				t.Errorf("the line is %s", text.String())
			}
		})
	}
	log.DebugContext(ctx, "nobody wants to know")
	if strings.Contains(text.String(), "nobody") {
		t.Error("the level of the handler beneath is not looked at")
	}
}
