package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
)

// information is embedded in commands that print something about the program itself. They have no settings, and ignore
// the environment.
type information struct{}

func (information) resolve(*errorCollector)             {}
func (information) logger(*logging.Writer) *slog.Logger { return slog.New(slog.DiscardHandler) }
func (information) ignoresEnvironment()                 {}

// version prints which version this is.
type version struct{ information }

func (version) run(_ context.Context, _ *slog.Logger, stdout io.Writer) error {
	_, err := fmt.Fprintln(stdout, versionText(debug.ReadBuildInfo()))
	return err
}

// versionText returns the version of the module, the revision that it was built from if that is known, and what it was
// built with and for.
func versionText(info *debug.BuildInfo, ok bool) string {
	text, revision, modified := "unknown version", "", ""
	if ok && info.Main.Version != "" {
		text = info.Main.Version
	}
	if ok {
		for _, setting := range info.Settings {
			switch {
			case setting.Key == "vcs.revision":
				revision = ", revision " + setting.Value
			case setting.Key == "vcs.modified" && setting.Value == "true":
				modified = " with changes"
			}
		}
	}
	return fmt.Sprintf("gatehouse %s%s%s, %s %s/%s",
		text, revision, modified, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// help prints the help of a command. parse does it.
type help struct {
	information

	Command []string `arg:"" optional:"" help:"Command to print the help of."`
}

func (*help) run(context.Context, *slog.Logger, io.Writer) error {
	return errors.New("help is printed when it is parsed")
}
