package callctx_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

func TestWithRequestID(t *testing.T) {
	for _, id := range []string{"a", "Z", "0", "-", "from-the_client.7", uuid.NewString(), strings.Repeat("a", 128)} {
		if got := callctx.RequestID(callctx.WithRequestID(t.Context(), id)); got != id {
			t.Errorf("%q becomes %q", id, got)
		}
	}
}

func TestWithRequestIDReplaces(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{
		"", " ", "two words", "line\nbreak", "a\rb", "a\tb", "NUL\x00", "\x1b[31mred", `"quoted"`, "a=b", "a,b", "a/b", "{}",
		"ghrt_AZcOLHoQe16MQw1vGp4rVA", "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl", "ä", "\u202e", "a\xff", strings.Repeat("a", 129), strings.Repeat("a", 1<<20),
	} {
		got := callctx.RequestID(callctx.WithRequestID(t.Context(), id))
		if parsed, err := uuid.Parse(got); err != nil || parsed.Version() != 7 {
			t.Errorf("%.20q becomes %q", id, got)
		}
		if seen[got] {
			t.Errorf("%q is given twice", got)
		}
		seen[got] = true
	}
}

func TestFromIncoming(t *testing.T) {
	incoming := func(values ...string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.MD{callctx.RequestIDHeader: values})
	}
	if got := callctx.RequestID(callctx.FromIncoming(incoming("mine"))); got != "mine" {
		t.Errorf("id is %q", got)
	}
	if got := callctx.RequestID(callctx.FromIncoming(incoming("first", "second"))); got != "first" {
		t.Errorf("of two, id is %q", got)
	}
	for name, ctx := range map[string]context.Context{
		"no metadata": t.Context(), "no header": incoming(), "bad": incoming("a b"), "bad and good": incoming("", "good"),
	} {
		if _, err := uuid.Parse(callctx.RequestID(callctx.FromIncoming(ctx))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestIDOutsideRequest(t *testing.T) {
	if got := callctx.RequestID(t.Context()); got != "" {
		t.Errorf("id is %q", got)
	}
}
