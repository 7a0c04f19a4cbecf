package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// What a client puts anywhere: a refresh token, and what nobody would know for a secret.
const (
	strayToken = "ghrt_AZcOLHoQe16MQw1vGp4rVAAAAAAAAAABYSBNQUMgb2YgdGhpcnR5LXR3byBieXRlcywgbm8uMS4"
	strayWord  = "stray-3c1f"
)

// TestLogTokens sends tokens wherever a request can hold text.
func TestLogTokens(t *testing.T) {
	env, u := newServedEnv(t)
	access := u.token(t)
	for _, token := range []string{strayToken, access} {
		bearer := "Authorization: Bearer " + token
		for _, path := range []string{
			"/" + token, "/v1/users/" + token, "/v1/users/" + token + ":disable", "/v1/" + token + "/" + token,
			"/v1/users/me?id=" + token, "/v1/users?" + token + "=1", "/docs/" + token, "/.well-known/" + token,
			"/%67hrt_/%65yJ" + token, "//" + token, "/v1/users/me#" + token,
		} {
			_ = env.get(t, path)
			_ = env.get(t, path, bearer)
			_ = env.post(t, path, `{"`+token+`":"`+token+`"}`, "X-Request-Id: "+token, "User-Agent: "+token, "Referer: "+token,
				"If-Match: "+token, "Idempotency-Key: "+token, "X-Forwarded-For: "+token, "Cookie: "+token)
		}
		_ = env.call(t, token, "/v1/users", http.NoBody)
		_ = env.call(t, token, "/healthz", http.NoBody)
		_ = env.call(t, http.MethodGet, "/v1/users/me", http.NoBody, "Authorization: "+token, "Accept: "+token)
		for _, raw := range []string{
			"GET /" + token + " HTTP/7.0\r\n\r\n", "GET " + token + " HTTP/1.1\r\n\r\n", token + "\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: " + token + "\r\n\r\n", "GET / HTTP/1.1\r\n" + token + "\r\n\r\n",
			"GET http://" + token + "/ HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + token + "\r\n\r\n",
		} {
			conn := dialFrom(t, attacker, strings.TrimPrefix(env.base, "http://"))
			if _, err := io.WriteString(conn, raw); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1<<10)); err != nil { // So that it is logged before the search.
				t.Fatal(err)
			}
		}
		for _, method := range []string{
			"/" + token, "/" + token + "/" + token, "/gatehouse.v1.UserService/" + token, "/gatehouse.v1.UserService/ReadUser/" + token,
		} {
			_, _ = env.raw(metadata.AppendToOutgoingContext(t.Context(), "x-request-id", token, token, token,
				"user-agent", token, "x-forwarded-for", token), method, []byte(token))
		}
		_, _ = env.raw(metadata.AppendToOutgoingContext(t.Context(), "authorization", token),
			gatehousev1.UserService_ReadUser_FullMethodName, []byte(token))
	}
	env.wantBystanderServed(t)
	log := env.stop(t)
	for _, secret := range []string{"ghrt_", "eyJ", strayToken[10:30], access[:20], "%67", "%65"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q: %s", secret, lineWith(log, secret))
		}
	}
}

func lineWith(log, text string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

func TestLoggedRoute(t *testing.T) {
	env, u := newServedEnv(t)
	bearer := "Authorization: Bearer " + u.token(t)
	for _, test := range []struct{ verb, path, route string }{
		{http.MethodGet, "/v1/users/" + strayWord, "/v1/users/{id}"},
		{http.MethodPost, "/v1/users/" + strayWord + ":disable", "/v1/users/{id}:disable"},
		{http.MethodGet, "/v1/" + strayWord, edge.Unmatched},
		{http.MethodDelete, "/v1/users?" + strayWord + "=" + strayWord, edge.Unmatched},
		{http.MethodGet, "/docs/" + strayWord, "/docs/"},
		{http.MethodGet, "/healthz?" + strayWord, "/healthz"},
		{http.MethodGet, "/.well-known/jwks.json", "/.well-known/jwks.json"},
		{"UNHEARD-OF-" + strayWord, "/healthz", "/healthz"},
	} {
		t.Run(test.verb+" "+test.path, func(t *testing.T) {
			id := "X-Request-Id: id." + strings.Map(wordsOnly, test.verb+test.path)
			_ = env.call(t, test.verb, test.path, http.NoBody, bearer, id)
			env.log.mu.Lock()
			defer env.log.mu.Unlock()
			line := lineWith(env.log.text.String(), strings.TrimPrefix(id, "X-Request-Id: ")+`"`)
			if !strings.Contains(line, `"route":"`+test.route+`"`) {
				t.Errorf("the log has %q, want the route %s", line, test.route)
			}
		})
	}
	for _, method := range []string{
		"/" + strayWord + "/" + strayWord, "/gatehouse.v1.UserService/" + strayWord, gatehousev1.UserService_ReadUser_FullMethodName,
	} {
		_, _ = env.raw(t.Context(), method, nil)
	}
	log := env.stop(t)
	if strings.Contains(log, strayWord) {
		t.Errorf("the log holds a word of a client: %s", lineWith(log, strayWord))
	}
	for _, want := range []string{`"method":"` + edge.Unmatched + `"`, `"method":"/gatehouse.v1.UserService/ReadUser"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

// wordsOnly removes the characters that a request id cannot contain.
func wordsOnly(char rune) rune {
	if char >= 'a' && char <= 'z' {
		return char
	}
	return -1
}
