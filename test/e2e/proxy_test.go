package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/browser"
)

// TestNginx runs nginx in front of Gatehouse, as operators do: under a path of its own, with compression, and asking on
// behalf of a product whether the caller is logged in.
func TestNginx(t *testing.T) {
	t.Parallel()
	env := startUp(t, t.TempDir(), cheapHashes...)
	product := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(product.Close)
	nginx := testkit.StartNginx(t, fmt.Sprintf(`
		gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;
		location /id/ { proxy_pass %[1]s/; }
		location /product/ { auth_request /auth; proxy_pass %[2]s; }
		location = /auth { internal; proxy_pass %[1]s/v1/sessions/current; }
	`, env.rest, product.URL))
	signUp(t, env, "ada@example.com")
	token := "Bearer " + logIn(t, env, "ada@example.com")

	t.Run("auth_request", func(t *testing.T) { testAuthRequest(t, nginx.URL(), token) })
	t.Run("gzip_makes_entity_tags_weak", func(t *testing.T) { testWeakTags(t, nginx.URL()+"/id", token) })
	t.Run("path_prefix", func(t *testing.T) { testPathPrefix(t, nginx.URL()+"/id") })
	if t.Failed() {
		t.Logf("nginx:\n%s", nginx.Tail())
	}
}

// testAuthRequest sends requests for the product, whose headers nginx sends to the gateway as well.
func testAuthRequest(t *testing.T, base, token string) {
	for _, test := range []struct {
		name, method, body string
		header             map[string]string
		status             int
	}{
		{"plain", http.MethodGet, "", nil, 200},
		{"conditional_read", http.MethodGet, "", map[string]string{"If-None-Match": `"1"`}, 304},
		{"conditional_change", http.MethodPost, "x", map[string]string{"If-Match": `"7"`, "Idempotency-Key": "a"}, 200},
		{"body_that_is_not_sent_to_the_gateway", http.MethodPost, strings.Repeat("x", 1<<10), nil, 200},
		{"form", http.MethodPost, "a=b", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 200},
		{"range", http.MethodGet, "", map[string]string{"Range": "bytes=0-0", "If-Range": `"1"`, "TE": "trailers"}, 200},
		{"no_token", http.MethodPost, "x", map[string]string{"Authorization": ""}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Authorization": {token}}
			for name, value := range test.header {
				header.Set(name, value)
			}
			status, _, body := fetch(t, test.method, base+"/product/", test.body, header)
			if status != test.status || status == http.StatusOK && body != test.body {
				t.Errorf("the product's answer is %d: %.100s", status, body)
			}
		})
	}
}

func testWeakTags(t *testing.T, base, token string) {
	header := http.Header{"Authorization": {token}, "Accept-Encoding": {"gzip"}}
	_, read, _ := fetch(t, http.MethodGet, base+"/v1/users/me", "", header)
	tag := read.Get("ETag")
	if tag != `W/"1"` || read.Get("Content-Encoding") != "gzip" {
		t.Fatalf("the tag is %s, as nginx did not compress the answer", tag)
	}
	header.Set("Content-Type", "application/json")
	header.Set("If-Match", tag)
	if status, _, body := fetch(t, http.MethodPatch, base+"/v1/users/me", `{"locale":"de"}`, header); status != http.StatusOK {
		t.Errorf("a change for %s is answered %d: %s", tag, status, body)
	}
	if status, _, _ := fetch(t, http.MethodPatch, base+"/v1/users/me", `{"locale":"fr"}`, header); status != http.StatusPreconditionFailed {
		t.Errorf("another change for %s is answered %d", tag, status)
	}
}

func testPathPrefix(t *testing.T, base string) {
	for _, path := range []string{"/", "/docs"} {
		_, header, _ := fetch(t, http.MethodGet, base+path, "", nil)
		if target := resolve(t, base+path, header.Get("Location")); target != base+"/docs/" {
			t.Errorf("%s leads to %q", path, target)
		}
	}
	_, _, page := fetch(t, http.MethodGet, base+"/docs/", "", nil)
	references := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(references) < 4 {
		t.Errorf("the page has the references %v", references)
	}
	for _, reference := range references {
		target := resolve(t, base+"/docs/", reference[1])
		if status, _, _ := fetch(t, http.MethodHead, target, "", nil); status != http.StatusOK {
			t.Errorf("%s is answered %d", target, status)
		}
	}
	var document struct {
		Servers []struct{ URL string }
	}
	_, _, text := fetch(t, http.MethodGet, base+"/openapi.json", "", nil)
	if err := json.Unmarshal([]byte(text), &document); err != nil || len(document.Servers) != 1 {
		t.Fatalf("the document has the servers %v: %v", document.Servers, err)
	}
	if target := resolve(t, base+"/openapi.json", document.Servers[0].URL); target != base+"/" {
		t.Errorf("the document leads to %s", target)
	}
	t.Run("Swagger_UI_reaches_the_API", func(t *testing.T) {
		page := browser.New(t)
		if err := chromedp.Do(page, chromedp.Navigate(base+"/docs/")); err != nil { // Must have no time limit.
			t.Fatal(err)
		}
		page, cancel := context.WithTimeout(page, browserTimeout)
		defer cancel()
		keys := tryOut(t, page, "KeyService-KeyService_ListKeys")
		if !strings.Contains(keys, `"kid"`) {
			t.Errorf("the keys are answered %s", keys)
		}
	})
}

func resolve(t *testing.T, base, reference string) string {
	t.Helper()
	from, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	target, err := from.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	return target.String()
}

// fetch makes an HTTP request, and follows no redirect. Headers that are empty are not sent.
func fetch(
	t *testing.T, method, target, body string, header http.Header,
) (status int, answered http.Header, content string) {
	t.Helper()
	request, err := http.NewRequestWithContext(callContext(t), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		if values[0] != "" {
			request.Header[name] = values
		}
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(read)
}
