package testkit

import (
	"context"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// NewBrowser starts a headless Chromium on a new profile and gives a context for chromedp. It ends with the test.
func NewBrowser(t testing.TB) context.Context {
	t.Helper()
	path, err := find("chromium", "chromium-browser", "google-chrome")
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(shortDir(t)),
		chromedp.WindowSize(1280, 1600),
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses to be run by root.
	}
	allocator, stopAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stopAllocator)
	browser, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	return browser
}

// Eventually waits until condition gives no error, and fails the test if it still does after a minute.
func Eventually(t testing.TB, condition func() error) {
	t.Helper()
	if err := eventually(condition); err != nil {
		t.Fatal(err)
	}
}
