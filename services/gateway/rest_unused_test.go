package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

// TestUnusedHeaders sends what other programs and proxies put into requests, to calls that have no use for it.
func TestUnusedHeaders(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	unused := []string{
		`If-Match: "1"`, `If-Match: nonsense`, `If-None-Match: "0"`, "If-None-Match: *", `If-Range: "0"`, "Range: bytes=0-0",
		"If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT", "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
		"Idempotency-Key: a", "Idempotency-Key: b", "Accept: text/html", "Accept-Charset: utf-16", "Accept-Language: tlh",
		"Prefer: return=minimal", "Grpc-Timeout: soon", "X-HTTP-Method-Override: DELETE", "TE: trailers",
		"X-Original-URI: /private", "X-Forwarded-Method: POST", "Content-Type: multipart/form-data; boundary=x",
		"Content-Encoding: gzip", "Origin: https://example.com", "Upgrade-Insecure-Requests: 1",
	}
	t.Run("read", func(t *testing.T) {
		env.get(t, "/v1/users/me", append(unused, token)...).wantOK(t)
	})
	t.Run("public_document", func(t *testing.T) {
		for _, path := range []string{"/.well-known/jwks.json", "/openapi.json", "/healthz", "/readyz"} {
			env.get(t, path, unused...).wantOK(t)
		}
	})
	ofJSON := strings.Fields("Content-Type: Content-Encoding:")
	var forJSON []string
	for _, header := range unused {
		if !strings.HasPrefix(header, ofJSON[0]) && !strings.HasPrefix(header, ofJSON[1]) {
			forJSON = append(forJSON, header)
		}
	}
	t.Run("log_in", func(t *testing.T) {
		env.post(t, "/v1/sessions", `{"email":"ada@example.com","password":"`+secret+`"}`, forJSON...).wantOK(t)
	})
	t.Run("refresh", func(t *testing.T) {
		env.post(t, "/v1/sessions:refresh", `{}`, forJSON...).wantFailure(t, 404, "ROUTE_NOT_FOUND") // Of the upstream.
	})
	t.Run("a_short_timeout_of_gRPC_is_not_of_REST", func(t *testing.T) {
		env.get(t, "/v1/users/me", token, "Grpc-Timeout: 1n").wantOK(t)
	})
}

// TestPreconditions are refused where they could not be checked, and ignoring them could overwrite a change.
func TestPreconditions(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t, authn.RoleAdmin)
	for _, path := range []string{"/v1/users/me:disable", "/v1/users/me:enable", "/v1/users/me:setRoles", "/v1/users/me:resetPassword"} {
		for _, header := range []string{`If-Match: "1"`, "If-Match: *", `If-None-Match: "1"`} {
			env.post(t, path, "{}", token, header).wantFailure(t, 400, "MALFORMED_REQUEST")
		}
		env.post(t, path, "{}", token, "If-Match: ", `If-Match: "1"`).wantFailure(t, 400, "MALFORMED_REQUEST")
		env.post(t, path, "{}", token).wantFailure(t, 404, "ROUTE_NOT_FOUND") // Of the upstream.
	}
	env.call(t, http.MethodDelete, "/v1/users/me/sessions", http.NoBody, token, `If-Match: "1"`).
		wantFailure(t, 400, "MALFORMED_REQUEST")
	env.call(t, http.MethodDelete, "/v1/users/me", http.NoBody, token, `If-None-Match: "1"`).
		wantFailure(t, 400, "MALFORMED_REQUEST")
	// A session has no tag: nothing can have been meant.
	env.call(t, http.MethodDelete, "/v1/sessions/current", http.NoBody, token, `If-Match: "1"`).
		wantFailure(t, 404, "ROUTE_NOT_FOUND")
	message := env.call(t, http.MethodPatch, "/v1/users/me", strings.NewReader("{}"), token, asJSON, `If-Match: "abc"`).
		wantFailure(t, 412, "VERSION_MISMATCH").Message
	if !strings.Contains(message, "If-Match contains no entity tag of this API") {
		t.Errorf("a tag of somebody else is answered %q", message)
	}
}

// TestBodyOfRead checks reads with a body: a proxy's subrequest may announce the body of the original request.
func TestBodyOfRead(t *testing.T) {
	env, u := newServedEnv(t)
	token := u.token(t)
	t.Run("is_ignored", func(t *testing.T) {
		for _, body := range []string{"{}", "nonsense", strings.Repeat("x", 1<<20)} {
			env.call(t, http.MethodGet, "/v1/users/me", strings.NewReader(body), "Authorization: Bearer "+token).wantOK(t)
		}
	})
	t.Run("is_not_waited_for", func(t *testing.T) {
		for _, path := range []string{"/v1/users/me", "/healthz", "/.well-known/jwks.json"} {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(env.base, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 20\r\n\r\n", path, token)
			if err != nil {
				t.Fatal(err)
			}
			// Far below deadlines.ReadRequest, which would otherwise end the wait with a failure.
			if err := conn.SetReadDeadline(time.Now().Add(deadlines.ReadRequest / 2)); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if response.StatusCode != http.StatusOK || !response.Close {
				t.Errorf("%s: the answer is %d, and ends the connection: %t", path, response.StatusCode, response.Close)
			}
			_ = response.Body.Close()
		}
	})
}

// TestQueryOfRead checks that query names which cannot be a misspelt filter change nothing.
func TestQueryOfRead(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t, authn.RoleAdmin)
	for _, query := range []string{"?_=1700000000", "?a;b", "?keepCurrent=true", "?%zz", "?fields=id"} {
		env.get(t, "/v1/users/me"+query, token).wantOK(t)
		env.get(t, "/.well-known/jwks.json"+query).wantOK(t)
	}
	env.get(t, "/v1/users?_=1&emailPrefix=a", token).wantFailure(t, 404, "ROUTE_NOT_FOUND") // Of the upstream.
	for name, query := range map[string]string{"emailPrefx": "?_=1&emailPrefx=a", "fields": "?fields=id"} {
		if failed := env.get(t, "/v1/users"+query, token).wantFailure(t, 400, "MALFORMED_REQUEST").fields(); failed[name] == "" {
			t.Errorf("%s: failed are %v", query, failed)
		}
	}
}

// TestMergePatch checks that RFC 7396 has the meaning of PATCH here, except for members that are replaced as a whole.
func TestMergePatch(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	var got *gatehousev1.UpdateUserRequest
	u.updateUser = func(_ context.Context, req *gatehousev1.UpdateUserRequest) error {
		got = req
		return nil
	}
	for _, contentType := range []string{"application/merge-patch+json", "Application/Merge-Patch+JSON; charset=UTF8"} {
		env.call(t, http.MethodPatch, "/v1/users/me", strings.NewReader(`{"locale":"de","timeZone":null,"metadata":null}`), token,
			"Content-Type: "+contentType).wantOK(t)
		if paths := strings.Join(got.GetUpdateMask().GetPaths(), " "); paths != "locale time_zone metadata" || got.GetUser().GetLocale() != "de" {
			t.Errorf("the service gets %v", got)
		}
	}
	for name, body := range map[string]string{"metadata": `{"metadata":{"a":1}}`, "app_metadata": `{"app_metadata": {}}`} {
		failed := env.call(t, http.MethodPatch, "/v1/users/me", strings.NewReader(body), token,
			"Content-Type: application/merge-patch+json").wantFailure(t, 400, "MALFORMED_REQUEST").fields()
		if failed[name] == "" {
			t.Errorf("%s: failed are %v", body, failed)
		}
	}
	env.call(t, http.MethodPost, "/v1/sessions", strings.NewReader("{}"), "Content-Type: application/merge-patch+json").
		wantFailure(t, 415, "UNSUPPORTED_MEDIA_TYPE")
}

func TestJSONLineBreak(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	for name, answer := range map[string]*answer{
		"a read": env.get(t, "/v1/users/me", token), "a change": env.post(t, "/v1/users", "{}"), "an error": env.get(t, "/v1/users/me"),
		"keys": env.get(t, "/.well-known/jwks.json"), "the document": env.get(t, "/openapi.json"), "health": env.get(t, "/healthz"),
		"readiness": env.get(t, "/readyz"), "no route": env.get(t, "/v1/nothing"),
	} {
		if !strings.HasSuffix(answer.text, "}\n") || strings.HasSuffix(answer.text, "\n\n") {
			t.Errorf("%s ends with %q", name, answer.text[max(0, len(answer.text)-4):])
		}
		answer.wantHeader(t, "Content-Length", fmt.Sprint(len(answer.text)))
	}
}

// TestCrossOrigin checks that scripts of every origin can read public documents, and nothing else.
func TestCrossOrigin(t *testing.T) {
	env, u := newServedEnv(t)
	headers := []string{
		"Origin: https://app.example.com", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-any",
		"Authorization: Bearer " + u.token(t),
	}
	const allowed = "Access-Control-Allow-Origin"
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration", "/openapi.json", "/.well-known/nothing"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			env.call(t, method, path, http.NoBody, headers...).wantHeader(t, allowed, "*")
		}
		if strings.HasSuffix(path, "/nothing") {
			continue
		}
		preflight := env.call(t, http.MethodOptions, path, http.NoBody, headers...)
		preflight.wantHeader(t, allowed, "*")
		preflight.wantHeader(t, "Access-Control-Allow-Methods", "GET, HEAD")
		preflight.wantHeader(t, "Access-Control-Allow-Headers", "*")
		if preflight.StatusCode != http.StatusNoContent || preflight.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: the preflight is answered %d with %v", path, preflight.StatusCode, preflight.Header)
		}
	}
	for _, path := range []string{"/v1/users/me", "/v1/users", "/v1/sessions/current", "/", "/docs/", "/healthz", "/readyz", "/v1/nothing"} {
		for _, method := range []string{http.MethodGet, http.MethodOptions, http.MethodPost} {
			for name := range env.call(t, method, path, http.NoBody, headers...).Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s is answered with %s", method, path, name)
				}
			}
		}
	}
}
