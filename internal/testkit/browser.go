package testkit

import (
	"context"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// ChromiumPath is the program that NewBrowser starts.
func ChromiumPath(tb testing.TB) string {
	tb.Helper()
	path, err := find("chromium", "chromium-browser", "google-chrome")
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// NewBrowser starts a headless Chromium on a new profile and gives a context for chromedp. It ends with the test.
func NewBrowser(tb testing.TB) context.Context {
	tb.Helper()
	// chromedp's defaults are headless and have no first run, no background networking and no sync.
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(ChromiumPath(tb)),
		chromedp.UserDataDir(shortDir(tb)),
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
