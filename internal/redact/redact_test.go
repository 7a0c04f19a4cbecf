package redact_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/redact"
)

const (
	refreshToken = "ghrt_AZcOLHoQe16MQw1vGp4rVAAAAAAAAAABYSBNQUMgb2YgdGhpcnR5LXR3byBieXRlcywgbm8uMS4"
	accessToken  = "eyJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiIsInR5cCI6ImF0K2p3dCJ9.e30.c2lnbmF0dXJl"
	header       = "eyJhbGciOiJFUzI1NiJ9"
)

func TestString(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"/v1/users/{id}":            "/v1/users/{id}",
		accessToken:                 "[token]",
		refreshToken:                "[token]",
		"ghrt_":                     "[token]",
		header + ".":                "[token]",
		"/v1/" + accessToken + "/x": "/v1/[token]/x",
		"a" + refreshToken + " and " + accessToken + "!": "a[token] and [token]!",
		"keyJoin": "keyJoin",
		"eyJ":     "eyJ",
	} {
		if got := redact.String(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// stringer writes itself as a token.
type stringer struct{}

func (stringer) String() string { return accessToken }

// valuer resolves to a token.
type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue(refreshToken) }

func TestAttr(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: redact.Attr}))
	log = log.With("with", accessToken).WithGroup("group").With("inner", refreshToken)
	log.Info("message "+accessToken,
		"string", refreshToken, "error", errors.New("read "+accessToken), "stringer", stringer{}, "valuer", valuer{},
		"list", []string{accessToken}, slog.Group("nested", "deep", refreshToken),
		"number", 7, "plain", "as it is", "names", []string{"a", "b"})
	log.Debug("below the level")
	got := out.String()
	for _, secret := range []string{"ghrt_", "eyJ", "below"} {
		if strings.Contains(got, secret) {
			t.Errorf("the log holds %q: %s", secret, got)
		}
	}
	for _, want := range []string{
		`"msg":"message [token]"`, `"with":"[token]"`, `"inner":"[token]"`, `"error":"read [token]"`, `"deep":"[token]"`,
		`"list":"[[token]]"`, `"number":7`, `"plain":"as it is"`, `"names":["a","b"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the log lacks %s: %s", want, got)
		}
	}
	t.Run("logger of net/http", func(t *testing.T) {
		out.Reset()
		slog.NewLogLogger(log.Handler(), slog.LevelInfo).Print("bad request: " + accessToken)
		if got := out.String(); strings.Contains(got, "eyJ") || !strings.Contains(got, "bad request: [token]") {
			t.Errorf("the log is %s", got)
		}
	})
}
