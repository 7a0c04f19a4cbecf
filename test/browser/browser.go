// Package browser runs a headless Chromium for tests.
package browser

import (
	"context"
	"os"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// New starts a headless Chromium on a new profile and returns a context for chromedp. It ends with the test.
func New(tb testing.TB) context.Context {
	tb.Helper()
	path, err := testkit.FindProgram("chromium", "chromium-browser", "google-chrome")
	if err != nil {
		tb.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "gh") // The path of a socket in it must be short.
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(profile) })
	// chromedp's defaults are headless and have no first run, no background networking and no sync.
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.WindowSize(1280, 1600),
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses to be run by root.
	}
	allocator, stopAllocator := chromedp.NewExecAllocator(tb.Context(), options...)
	tb.Cleanup(stopAllocator)
	browser, stop := chromedp.NewContext(allocator)
	tb.Cleanup(stop)
	return browser
}
