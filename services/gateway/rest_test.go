package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

func TestRESTCall(t *testing.T) {
	env, u := newServedEnv(t)
	created := env.post(t, "/v1/users", `{"email":"ada@example.com","fullName":"Ada Lovelace","password":"`+secret+`"}`)
	created.wantOK(t)
	created.wantHeader(t, "Content-Type", "application/json")
	created.wantHeader(t, "Cache-Control", "no-store")
	var body struct {
		User map[string]any
	}
	if err := json.Unmarshal([]byte(created.text), &body); err != nil {
		t.Fatal(err)
	}
	if body.User["id"] != userID || body.User["fullName"] != "Ada Lovelace" || body.User["version"] != "0" {
		t.Errorf("answer is %s", created.text)
	}
	env.post(t, "/v1/sessions", `{"email":"ada@example.com","password":"`+secret+`"}`).wantOK(t)
	read := env.get(t, "/v1/users/me", "Authorization: Bearer "+u.token(t))
	read.wantOK(t)
	if !strings.Contains(read.text, `"me"`) {
		t.Errorf("answer is %s", read.text)
	}
	if log := env.stop(t); strings.Contains(log, secret) {
		t.Errorf("the log holds the password: %s", log)
	}
}

func TestMalformedBody(t *testing.T) {
	env, _ := newServedEnv(t)
	const contentType = "Content-Type: application/json"
	malformed := func(name, body string, fields map[string]string) bodyCase {
		return bodyCase{name, body, []string{contentType}, 400, "MALFORMED_REQUEST", fields}
	}
	noString := map[string]string{"password": "must be a string"}
	for _, test := range []bodyCase{
		malformed("not JSON", `{"email":`+secret, nil),
		malformed("cut", `{"email":"a@b.c","password":"`+secret, nil),
		malformed("something after it", `{"email":"a@b.c"} `+secret, nil),
		malformed("two objects", `{"email":"a@b.c"}{"password":"`+secret+`"}`, nil),
		malformed("a list", `[{"password":"`+secret+`"}]`, nil),
		malformed("a text", `"`+secret+`"`, nil),
		malformed("a number", `7`, nil),
		malformed("null", `null`, nil),
		malformed("only white space", ` `, nil),
		malformed("NUL", "\x00", nil),
		malformed("an unknown field", `{"pasword":"`+secret+`"}`, map[string]string{"pasword": "is not a field of the request"}),
		malformed("two unknown fields", `{"b":"`+secret+`","a":1}`,
			map[string]string{"a": "is not a field of the request", "b": "is not a field of the request"}),
		malformed("a number for a text", `{"password":93187264}`, noString),
		malformed("a list for a text", `{"password":["`+secret+`"]}`, noString),
		malformed("an object for a text", `{"password":{"is":"`+secret+`"}}`, noString),
		malformed("true for a text", `{"password":true}`, noString),
		malformed("a field twice", `{"password":"x","password":"`+secret+`"}`, map[string]string{"password": "appears more than once"}),
		malformed("a field by both its names", `{"fullName":"x","full_name":"`+secret+`"}`, nil),
		malformed("a lone surrogate", `{"password":"`+secret+`\ud800"}`, map[string]string{"password": "is not a valid value of the field"}),
		malformed("bytes that are not UTF-8", `{"password":"`+secret+"\xff\"}", nil),
		malformed("deep", strings.Repeat(`{"a":`, 2000)+`1`+strings.Repeat(`}`, 2000), nil),
		{"no type", `{}`, nil, 415, "UNSUPPORTED_MEDIA_TYPE", nil},
		{"a form", `password=` + secret, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "UNSUPPORTED_MEDIA_TYPE", nil},
		{"text", `{}`, []string{"Content-Type: text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE", nil},
		{"JSON of another kind", `{}`, []string{"Content-Type: application/json-patch+json"}, 415, "UNSUPPORTED_MEDIA_TYPE", nil},
		{"a type that cannot be read", `{}`, []string{"Content-Type: ;"}, 415, "UNSUPPORTED_MEDIA_TYPE", nil},
		{"another charset", `{}`, []string{"Content-Type: application/json; charset=utf-16"}, 415, "UNSUPPORTED_MEDIA_TYPE", nil},
		{"compressed", `{}`, []string{contentType, "Content-Encoding: gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE", nil},
		{"16 KiB and 1 byte", oversize(1), []string{contentType}, 413, "REQUEST_TOO_LARGE", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := env.call(t, http.MethodPost, "/v1/users", strings.NewReader(test.body), test.headers...)
			failed := got.wantFailure(t, test.status, test.reason)
			if test.fields == nil {
				test.fields = map[string]string{}
			}
			if test.name != "deep" && !reflect.DeepEqual(failed.fields(), test.fields) {
				t.Errorf("the fields at fault are %v, want %v", failed.fields(), test.fields)
			}
			for _, value := range []string{secret, "93187264"} {
				if strings.Contains(got.text, value) {
					t.Errorf("the answer repeats the value: %s", got.text)
				}
			}
		})
	}
	log := env.stop(t)
	for _, value := range []string{secret, "93187264"} {
		if strings.Contains(log, value) {
			t.Errorf("the log repeats the value %s", value)
		}
	}
	if strings.Contains(log, `"level":"ERROR"`) {
		t.Error("what a client did wrong is logged as a fault of ours")
	}
}

type bodyCase struct {
	name, body string
	headers    []string
	status     int
	reason     string
	fields     map[string]string
}

// oversize is JSON that is this many bytes longer than what may be sent.
func oversize(by int) string {
	const frame = `{"fullName":""}`
	return `{"fullName":"` + strings.Repeat("a", edge.MaxSmallRequest+by-len(frame)) + `"}`
}

func TestBody(t *testing.T) {
	env, _ := newServedEnv(t)
	for _, test := range []struct{ name, body, contentType string }{
		{"charset", `{}`, "application/json; charset=utf-8"},
		{"charset in upper case", `{}`, "application/json; charset=UTF-8"},
		{"charset without a hyphen", `{}`, "application/json;charset=utf8"},
		{"charset in single quotes", `{}`, "application/json; charset='UTF8'"},
		{"charset of which UTF-8 is more", `{}`, "application/json; charset=us-ascii"},
		{"name of the charset in upper case", `{}`, "application/json; CHARSET=Utf-8"},
		{"parameter without a value", `{}`, "application/json; charset"},
		{"semicolon at the end", `{}`, "application/json;"},
		{"another parameter", `{}`, "application/json; profile=x; charset=utf-8"},
		{"quoted charset", `{}`, `application/json; charset="utf-8"`},
		{"type in another case", `{}`, "Application/JSON"},
		{"white space around", " \n{} \n", "application/json"},
		{"names as in the contract", `{"full_name":"Ada"}`, "application/json"},
		{"null for a text", `{"fullName":null}`, "application/json"},
		{"16 KiB", oversize(0), "application/json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env.call(t, http.MethodPost, "/v1/users", strings.NewReader(test.body), "Content-Type: "+test.contentType).wantOK(t)
		})
	}
	env.post(t, "/v1/users", `{}`, "Content-Encoding: identity").wantOK(t)
}

// TestEmptyBody checks that an empty body reaches the service, which reports each missing field.
func TestEmptyBody(t *testing.T) {
	u := newUpstream(t)
	u.createUser = func(_ context.Context, req *gatehousev1.CreateUserRequest) error {
		if req.GetEmail() != "" || req.GetPassword() != "" {
			t.Errorf("request is %v", req)
		}
		return apierr.InvalidFields(nil)
	}
	conn := u.serve(t)
	env := newTestEnv(t, conn, conn)
	env.post(t, "/v1/users", "").wantFailure(t, 400, "INVALID_FIELDS")
	env.call(t, http.MethodPost, "/v1/users", http.NoBody).wantFailure(t, 400, "INVALID_FIELDS")
}

func TestChunkedBodyTooLarge(t *testing.T) {
	env, _ := newServedEnv(t)
	body := io.MultiReader(strings.NewReader(oversize(1))) // Not a type that net/http knows the length of.
	env.call(t, http.MethodPost, "/v1/users", body, "Content-Type: application/json").
		wantFailure(t, 413, "REQUEST_TOO_LARGE")
}

// TestLongFieldName checks that half a character is no UTF-8, which an answer cannot hold.
func TestLongFieldName(t *testing.T) {
	env, _ := newServedEnv(t)
	for shift := range 4 {
		name := strings.Repeat("a", shift) + strings.Repeat("\U0001F511", 40)
		failed := env.post(t, "/v1/users", `{"`+name+`":1}`).wantFailure(t, 400, "MALFORMED_REQUEST")
		for shown := range failed.fields() {
			kept, cut := strings.CutSuffix(shown, "…")
			if !cut || !strings.HasPrefix(name, kept) || len(kept) < 60 || len(kept) > 64 || !utf8.ValidString(shown) {
				t.Errorf("the name is shown as %q", shown)
			}
		}
		if len(failed.fields()) != 1 {
			t.Errorf("fields are %v", failed.fields())
		}
	}
}

func TestRouting(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	form := "Content-Type: application/x-www-form-urlencoded"
	for _, test := range []struct {
		name, method, path string
		headers            []string
		status             int
		reason, allow      string
	}{
		{"no such path", "GET", "/v1/nothing", nil, 404, "ROUTE_NOT_FOUND", ""},
		{"below a path", "GET", "/v1/users/me/more", nil, 404, "ROUTE_NOT_FOUND", ""},
		{"slash after", "POST", "/v1/users/", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PATCH, DELETE"},
		{"other case", "POST", "/V1/users", nil, 404, "ROUTE_NOT_FOUND", ""},
		{"the gRPC path", "POST", "/gatehouse.v1.UserService/CreateUser", nil, 404, "ROUTE_NOT_FOUND", ""},
		{"double slash", "GET", "//v1/users/me", nil, 404, "ROUTE_NOT_FOUND", ""},
		{"no such well-known path", "GET", "/.well-known/nothing", nil, 404, "ROUTE_NOT_FOUND", ""},
		{"DELETE on a collection", "DELETE", "/v1/users", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, POST"},
		{"GET on a custom method of the collection", "GET", "/v1/keys:rotate", nil, 405, "METHOD_NOT_ALLOWED", "POST"},
		{"HEAD on a custom method of the collection", "HEAD", "/v1/keys:rotate", nil, 405, "", "POST"},
		{"PUT on a collection of several methods", "PUT", "/v1/sessions", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, POST, DELETE"},
		{"PATCH on a session", "PATCH", "/v1/sessions/current", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, DELETE"},
		{"GET on a custom method", "GET", "/v1/sessions:refresh", nil, 405, "METHOD_NOT_ALLOWED", "POST"},
		{"PUT on a resource", "PUT", "/v1/users/me", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PATCH, DELETE"},
		{"OPTIONS", "OPTIONS", "/v1/users/me", nil, 204, "", "GET, HEAD, PATCH, DELETE, OPTIONS"},
		{"OPTIONS on the root", "OPTIONS", "/", nil, 204, "", "GET, HEAD, OPTIONS"},
		{"OPTIONS on no path", "OPTIONS", "/v1/nothing", nil, 404, "ROUTE_NOT_FOUND", ""},
		{"a method of nobody", "BREW", "/v1/users/me", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PATCH, DELETE"},
		{"POST on the keys", "POST", "/.well-known/jwks.json", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"},
		{"POST on health", "POST", "/healthz", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"},
		{"POST on the document", "POST", "/openapi.json", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"},
		{"POST on the docs", "POST", "/docs/", nil, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"},
		{"a method in a header", "POST", "/v1/users/me", []string{token, "X-HTTP-Method-Override: GET"}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PATCH, DELETE"},
		{"a form for a GET", "POST", "/v1/users/me", []string{token, form}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PATCH, DELETE"},
		{"a form with a method in a header", "POST", "/v1/users/me", []string{token, form, "X-HTTP-Method-Override: GET"}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PATCH, DELETE"},
		{"a path that is not UTF-8", "GET", "/v1/users/%ff", []string{token}, 400, "MALFORMED_REQUEST", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := env.call(t, test.method, test.path, http.NoBody, test.headers...)
			if test.reason == "" {
				if got.StatusCode != test.status || got.text != "" {
					t.Errorf("answer is %d with %q", got.StatusCode, got.text)
				}
			} else {
				got.wantFailure(t, test.status, test.reason)
			}
			if allow := got.Header.Get("Allow"); allow != test.allow {
				t.Errorf("Allow is %q, want %q", allow, test.allow)
			}
		})
	}
	if log := env.stop(t); strings.Contains(log, `"level":"ERROR"`) {
		t.Error("what a client did wrong is logged as a fault of ours")
	}
}

func TestHead(t *testing.T) {
	env, u := newServedEnv(t)
	for _, path := range []string{"/.well-known/jwks.json", "/healthz", "/readyz", "/openapi.json", "/docs/", "/v1/users/me"} {
		token := "Authorization: Bearer " + u.token(t)
		get, head := env.get(t, path, token), env.call(t, http.MethodHead, path, http.NoBody, token)
		get.wantOK(t)
		head.wantOK(t)
		if head.text != "" || get.text == "" {
			t.Errorf("%s: HEAD has %d bytes, GET %d", path, len(head.text), len(get.text))
		}
		for _, name := range []string{"Content-Type", "Cache-Control"} {
			head.wantHeader(t, name, get.Header.Get(name))
		}
	}
}

func TestDocsPage(t *testing.T) {
	env, _ := newServedEnv(t)
	page := env.get(t, "/docs/")
	page.wantOK(t)
	page.wantHeader(t, "Content-Type", "text/html; charset=utf-8")
	page.wantHeader(t, "X-Content-Type-Options", "nosniff")
	page.wantHeader(t, "Referrer-Policy", "no-referrer")
	policy := page.Header.Get("Content-Security-Policy")
	for _, rule := range []string{
		"default-src 'none'", "script-src 'self' 'sha256-", "connect-src 'self'", "frame-ancestors 'none'",
		"base-uri 'none'", "form-action 'none'",
	} {
		if !strings.Contains(policy, rule) {
			t.Errorf("the policy lacks %q: %s", rule, policy)
		}
	}
	_, allowed, _ := strings.Cut(policy, "script-src")
	if script, _, _ := strings.Cut(allowed, ";"); strings.Contains(script, "unsafe") {
		t.Errorf("any script may run: %s", script)
	}
	for _, absolute := range regexp.MustCompile(`(src|href)="/[^"]*"`).FindAllString(page.text, -1) {
		t.Errorf("the page cannot be served under a path: it has %s", absolute)
	}
	asset := regexp.MustCompile(`"\./([A-Za-z0-9_.-]+\.js)"`).FindStringSubmatch(page.text)
	if asset == nil || !strings.Contains(page.text, `"../openapi.json"`) {
		t.Fatalf("the page names no script or no document: %s", page.text)
	}
	script := env.get(t, "/docs/"+asset[1])
	script.wantOK(t)
	script.wantHeader(t, "Cache-Control", "public, max-age=3600")
	for _, path := range []string{"/docs/no-such-file.js", "/docs/no/such/file", "/docs/%2e%2e/secret"} {
		env.get(t, path).wantFailure(t, 404, "ROUTE_NOT_FOUND")
	}
	for from, to := range map[string]string{"/": "docs/", "/docs": "docs/"} {
		moved := env.get(t, from)
		moved.wantHeader(t, "Location", to)
		if moved.StatusCode != http.StatusFound {
			t.Errorf("%s answers %d", from, moved.StatusCode)
		}
	}
	document := env.get(t, "/openapi.json")
	document.wantOK(t)
	if !json.Valid([]byte(document.text)) {
		t.Error("the OpenAPI document is no JSON")
	}
}

func TestRESTPanic(t *testing.T) {
	env := newTestEnv(t, panicking{}, panicking{})
	got := env.post(t, "/v1/users", `{"password":"`+secret+`"}`, "X-Request-Id: the-panic")
	got.wantFailure(t, 500, "INTERNAL")
	if strings.Contains(got.text, "own words") || strings.Contains(got.text, "goroutine") {
		t.Errorf("the caller reads: %s", got.text)
	}
	log := env.stop(t)
	for line := range strings.Lines(log) {
		if strings.Contains(line, "the panic's own words") && strings.Contains(line, `"request_id":"the-panic"`) &&
			strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, "testenv_test.go") {
			return
		}
	}
	t.Errorf("no line of the log has the panic, its stack and the request id: %s", log)
}

func TestRESTUpstreamUnreachable(t *testing.T) {
	conn := unreachable(t)
	env := newTestEnv(t, conn, conn)
	for _, got := range []*answer{
		env.post(t, "/v1/users", `{}`), env.get(t, "/.well-known/jwks.json"),
		// Without keys nothing is known of the token: not that it is invalid.
		env.get(t, "/v1/users/me", "Authorization: Bearer "+newUpstream(t).token(t)),
	} {
		failed := got.wantFailure(t, 503, "UNAVAILABLE")
		got.wantHeader(t, "Retry-After", "1")
		if len(failed.Details) != 2 || failed.Details[1].RetryDelay != "1s" {
			t.Errorf("details are %+v", failed.Details)
		}
	}
	ready := env.get(t, "/readyz")
	if ready.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.text, `"status":"NOT_SERVING"`) {
		t.Errorf("readyz is %d: %s", ready.StatusCode, ready.text)
	}
	env.get(t, "/healthz").wantOK(t) // The process is well: to restart it mends nothing.
}

func FuzzREST(f *testing.F) {
	env, _ := newServedEnv(f)
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"email":"a@b.c","fullName":"A","password":"12345678"}`, `{"email":1}`, `{"x":{"y":[]}}`,
		`{"email":"\ud800"}`, "{\"\xff\":1}", `{"` + strings.Repeat("\U0001F511", 40) + `":1}`, `{"email":1e999}`, `{"":""}`,
	} {
		f.Add([]byte(seed), "application/json")
	}
	f.Add([]byte(`{}`), "application/json; charset=\"")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, env.base+"/v1/users", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", contentType)
		response, err := env.client.Do(request)
		if err != nil {
			return // The header is not one that can be sent.
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode >= 500 || !json.Valid(text) {
			t.Errorf("answer is %d: %s", response.StatusCode, text)
		}
	})
}
