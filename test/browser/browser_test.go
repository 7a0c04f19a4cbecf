package browser_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/gatehouse-auth/gatehouse/test/browser"
)

func TestNew(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<script>document.title = 'Gate' + 'house'</script>"))
	}))
	defer server.Close()
	page, cancel := context.WithTimeout(browser.New(t), time.Minute)
	defer cancel()
	if err := chromedp.Do(page, chromedp.Navigate(server.URL)); err != nil {
		t.Fatal(err)
	}
	title, err := chromedp.Run(page, chromedp.Title())
	if err != nil || title != "Gatehouse" {
		t.Fatalf("title = %q, %v", title, err)
	}
}
