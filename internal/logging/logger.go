// Package logging creates the logger of a process. Logging never blocks and never ends the process, even if the reader
// of the log stalls or exits.
package logging

import (
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/redact"
)

// Formats of a log. Auto is text on a terminal and JSON elsewhere.
const (
	Auto = "auto"
	Text = "text"
	JSON = "json"
)

// New returns a logger that writes records of the level and above to w, without the tokens in them, and with the id of
// the request if they are logged with its context.
func New(w *Writer, level slog.Level, format string) *slog.Logger {
	if format == Auto && isTerminal(w.out) {
		format = Text
	}
	w.reportDrops(newHandler(w.out, level, format))
	return slog.New(callctx.NewLogHandler(newHandler(w, level, format)))
}

func newHandler(w io.Writer, level slog.Level, format string) slog.Handler {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redact.Attr}
	if format == Text {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(w, options)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}
