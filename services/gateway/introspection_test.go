package gateway

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/oauth"
)

var introspectionClient = IntrospectionClient{ID: "api", Secret: "a-secret+of/32-characters%or-more"}

func basic(client IntrospectionClient) string {
	pair := url.QueryEscape(client.ID) + ":" + url.QueryEscape(client.Secret)
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}

const formType = "Content-Type: application/x-www-form-urlencoded"

func form(token string) *strings.Reader {
	return strings.NewReader(url.Values{"token": {token}}.Encode())
}

func newIntrospectionEnv(t *testing.T) (*testEnv, *fakeUpstream) {
	t.Helper()
	u := newUpstream(t)
	conn := u.serve(t)
	return newConfiguredEnv(t, Config{Issuer: issuer, Audience: audience, Introspection: introspectionClient}, conn, conn), u
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	client := introspectionClient
	env, u := newIntrospectionEnv(t)
	token := u.token(t, "user")
	post := func(t *testing.T, token string, headers ...string) *answer {
		t.Helper()
		return env.call(t, http.MethodPost, oauth.IntrospectionPath, form(token), append(headers, formType)...)
	}

	t.Run("good_token", func(t *testing.T) {
		found := post(t, token, basic(client))
		var got map[string]any
		if err := json.Unmarshal([]byte(found.text), &got); err != nil {
			t.Fatal(err)
		}
		if found.StatusCode != http.StatusOK || got["active"] != true || got["sub"] != userID ||
			got["client_id"] != "gatehouse" || got["token_type"] != "Bearer" {
			t.Errorf("%d: %s", found.StatusCode, found.text)
		}
		if found.Header.Get("Cache-Control") != "no-store" {
			t.Error("the answer may be stored")
		}
	})
	t.Run("bad_tokens_are_inactive_and_nothing_more", func(t *testing.T) {
		stranger := newUpstream(t)
		parts := strings.Split(token, ".")
		for name, bad := range map[string]string{
			"garbage": "garbage", "foreign": stranger.token(t), "cut": token[:len(token)-4], "longer": token + "a",
			"two": token + " " + token, "line break": token + "\n", "control": "\x00\x7f", "not ASCII": "ключ",
			"no signature": parts[0] + "." + parts[1] + ".", "refresh token": "ghrt_" + strings.Repeat("a", 43),
			"oversized": token + strings.Repeat("a", 9<<10), "scheme": "Bearer " + token, "dots": "...",
		} {
			if found := post(t, bad, basic(client)); found.StatusCode != http.StatusOK || strings.TrimSpace(found.text) != `{"active":false}` {
				t.Errorf("%s: %d %s", name, found.StatusCode, found.text)
			}
		}
	})
	t.Run("what_upstream_refuses_is_inactive", func(t *testing.T) {
		for _, refusal := range []error{
			apierr.SessionEnded("", ""), apierr.SessionExpired(), apierr.SessionNotFound(), apierr.UserNotFound(), apierr.UserDisabled(),
		} {
			u.readSession.Store(&refusal)
			if found := post(t, token, basic(client)); found.StatusCode != http.StatusOK || strings.TrimSpace(found.text) != `{"active":false}` {
				t.Errorf("%v: %d %s", refusal, found.StatusCode, found.text)
			}
		}
		u.readSession.Store(nil)
	})
	t.Run("an_outage_is_not_inactive", func(t *testing.T) {
		outage := apierr.Status(apierr.Unavailable(nil)).Err()
		u.readSession.Store(&outage)
		defer u.readSession.Store(nil)
		if found := post(t, token, basic(client)); found.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%d %s", found.StatusCode, found.text)
		}
	})
	t.Run("clients_that_do_not_authenticate", func(t *testing.T) {
		for name, header := range map[string]string{
			"none": "X: y", "another secret": basic(IntrospectionClient{ID: client.ID, Secret: client.Secret + "2"}),
			"another id": basic(IntrospectionClient{ID: "api2", Secret: client.Secret}), "swapped": basic(IntrospectionClient{ID: client.Secret, Secret: client.ID}),
			"empty": basic(IntrospectionClient{}), "bearer": "Authorization: Bearer " + token, "garbage": "Authorization: Basic %%%",
			"bad escape": "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("%zz:%zz")),
		} {
			found := post(t, token, header)
			if found.StatusCode != http.StatusUnauthorized || strings.TrimSpace(found.text) != `{"error":"invalid_client"}` ||
				!strings.HasPrefix(found.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s: %d %s", name, found.StatusCode, found.text)
			}
		}
	})
	t.Run("bad_requests", func(t *testing.T) {
		for name, body := range map[string]string{
			"no token": "a=b", "empty token": "token=", "two tokens": "token=a&token=b", "bad escape": "token=%zz",
			"oversized": "token=" + strings.Repeat("a", edge.MaxSmallRequest), "empty": "",
		} {
			found := env.call(t, http.MethodPost, oauth.IntrospectionPath, strings.NewReader(body), basic(client), formType)
			if found.StatusCode != http.StatusBadRequest || strings.TrimSpace(found.text) != `{"error":"invalid_request"}` {
				t.Errorf("%s: %d %s", name, found.StatusCode, found.text)
			}
		}
		asJSON := env.call(t, http.MethodPost, oauth.IntrospectionPath, strings.NewReader(`{"token":"a"}`), basic(client),
			"Content-Type: application/json")
		inQuery := env.call(t, http.MethodPost, oauth.IntrospectionPath+"?token="+token, strings.NewReader(""), basic(client), formType)
		for name, found := range map[string]*answer{"JSON": asJSON, "a token in the URL": inQuery} {
			if found.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %d %s", name, found.StatusCode, found.text)
			}
		}
		if found := env.get(t, oauth.IntrospectionPath, basic(client)); found.StatusCode != http.StatusMethodNotAllowed ||
			found.Header.Get("Allow") != http.MethodPost {
			t.Errorf("GET: %d %s", found.StatusCode, found.text)
		}
	})
	t.Run("bystander_is_served_and_the_log_has_no_secret", func(t *testing.T) {
		env.get(t, "/v1/users/me", "Authorization: Bearer "+token).wantOK(t)
		log := env.stop(t)
		for _, secret := range []string{token, client.Secret, url.QueryEscape(client.Secret), strings.Split(token, ".")[2]} {
			if strings.Contains(log, secret) {
				t.Errorf("the log has %q", secret)
			}
		}
	})
}

func TestIntrospectionOff(t *testing.T) {
	t.Parallel()
	env, u := newServedEnv(t)
	found := env.call(t, http.MethodPost, oauth.IntrospectionPath, form(u.token(t)), basic(IntrospectionClient{}), formType)
	if found.StatusCode != http.StatusNotFound {
		t.Errorf("%d %s", found.StatusCode, found.text)
	}
	if metadata := env.get(t, "/.well-known/oauth-authorization-server"); strings.Contains(metadata.text, "introspection") {
		t.Errorf("the metadata names it: %s", metadata.text)
	}
}

// TestOAuthMetadata is exactly this: no endpoint is named that there is not.
func TestOAuthMetadata(t *testing.T) {
	t.Parallel()
	env, _ := newIntrospectionEnv(t)
	want := `{"issuer":"` + issuer + `","jwks_uri":"` + issuer + `/.well-known/jwks.json",` +
		`"response_types_supported":[],"grant_types_supported":[],` +
		`"introspection_endpoint":"` + issuer + `/oauth2/introspect",` +
		`"introspection_endpoint_auth_methods_supported":["client_secret_basic"]}`
	found := env.get(t, "/.well-known/oauth-authorization-server")
	if found.StatusCode != http.StatusOK || strings.TrimSpace(found.text) != want {
		t.Errorf("%d %s\nwant %s", found.StatusCode, found.text, want)
	}
	if found.Header.Get("Access-Control-Allow-Origin") != "*" || found.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("headers are %v", found.Header)
	}
	t.Run("issuer_with_a_path", func(t *testing.T) {
		pages, err := oauth.Pages("https://example.com/accounts", IntrospectionClient{}, nil)
		if err != nil || pages["/.well-known/oauth-authorization-server/accounts"] == nil {
			t.Errorf("%v, %v", pages, err)
		}
	})
}
