package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/gatehouse-auth/gatehouse/test/browser"
)

// artefacts is where the screenshot goes: a folder that git ignores.
const artefacts = "../../build/artefacts"

// browserTimeout bounds the whole scenario in the browser.
const browserTimeout = 2 * time.Minute

// The happy scenario as a person takes it who explores the API in Swagger UI: each request is sent as the page
// suggests it, and the token is copied into Authorize.
func TestSwaggerUI(t *testing.T) {
	t.Parallel()
	env := startUp(t, t.TempDir(), cheapHashes...)
	page := browser.New(t)
	if err := chromedp.Do(page, chromedp.Navigate(env.rest+"/")); err != nil { // The first call must have no time limit.
		t.Fatal(err)
	}
	page, cancel := context.WithTimeout(page, browserTimeout)
	defer cancel()
	defer screenshot(t, page)

	signUp := tryOut(t, page, "UserService-UserService_CreateUser")
	if !strings.Contains(signUp, `"email": "ada@example.com"`) {
		t.Fatalf("sign-up answers %s", signUp)
	}
	if again := execute(t, page, "UserService-UserService_CreateUser"); !strings.Contains(again, "EMAIL_TAKEN") {
		t.Fatalf("the same sign-up again answers %s", again)
	}
	logIn := tryOut(t, page, "SessionService-SessionService_CreateSession")
	_, rest, _ := strings.Cut(logIn, `"accessToken": "`)
	token, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatalf("log-in answers %s", logIn)
	}
	before := tryOut(t, page, "UserService-UserService_ReadUser")
	if !strings.Contains(before, "ACCESS_TOKEN_MISSING") {
		t.Fatalf("without a token the profile answers %s", before)
	}
	err := chromedp.Do(page,
		chromedp.Click(chromedp.CSS(".auth-wrapper .authorize")),
		chromedp.SendKeys(chromedp.CSS(".auth-container input"), token),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .authorize")),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .btn-done")),
	)
	if err != nil {
		t.Fatal(err)
	}
	profile := execute(t, page, "UserService-UserService_ReadUser")
	if !strings.Contains(profile, `"fullName": "Ada Lovelace"`) {
		t.Fatalf("the profile answers %s", profile)
	}
}

// tryOut opens an operation, sends the request that the page suggests, and gives the answer that it shows.
func tryOut(t *testing.T, page context.Context, operation string) string {
	t.Helper()
	block := chromedp.CSS("#operations-" + operation)
	err := chromedp.Do(page,
		chromedp.Click(block+" .opblock-summary-control"),
		chromedp.Click(block+" .try-out__btn"),
	)
	if err != nil {
		t.Fatalf("open %s: %v", operation, err)
	}
	return execute(t, page, operation)
}

// execute sends the request of an operation that is open, and gives the answer that the page shows.
func execute(t *testing.T, page context.Context, operation string) string {
	t.Helper()
	block := chromedp.CSS("#operations-" + operation)
	answer := block + " .live-responses-table .response-col_description code"
	// The answer of the call before goes away first, so that it cannot be taken for the new one.
	forget := fmt.Sprintf(`document.querySelector(%q)?.click()`, block+" .btn-clear")
	if _, err := chromedp.Run(page, chromedp.Evaluate[any](forget)); err != nil {
		t.Fatalf("clear %s: %v", operation, err)
	}
	if err := chromedp.Do(page,
		chromedp.WaitNotPresent(answer),
		chromedp.Click(block+" .execute"),
		chromedp.WaitVisible(answer),
	); err != nil {
		t.Fatalf("send %s: %v", operation, err)
	}
	text, err := chromedp.Run(page, chromedp.Text(answer))
	if err != nil {
		t.Fatalf("read the answer of %s: %v", operation, err)
	}
	return text
}

// screenshot stores what the page shows, also of a test that failed.
func screenshot(t *testing.T, page context.Context) {
	t.Helper()
	const best = 100 // PNG
	picture, err := chromedp.Run(page, chromedp.FullScreenshot(best))
	if err != nil {
		t.Errorf("take a screenshot: %v", err)
		return
	}
	if err := os.MkdirAll(artefacts, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(artefacts, "swagger-ui.png"), picture, 0o644); err != nil {
		t.Error(err)
	}
}
