package gateway

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

func TestKeyCaching(t *testing.T) {
	u := newUpstream(t)
	failing := false
	u.listKeys = func() error {
		if failing {
			return apierr.Unavailable(errTest)
		}
		return nil
	}
	conn := u.serve(t)
	env := newTestEnv(t, conn, conn)
	keys := env.get(t, "/.well-known/jwks.json")
	keys.wantOK(t)
	keys.wantHeader(t, "Cache-Control", "public, max-age=300")
	var set struct {
		Keys []map[string]string
	}
	if err := json.Unmarshal([]byte(keys.text), &set); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": u.public.GetKid(), "x": u.public.GetX(),
	}
	if len(set.Keys) != 1 || !reflect.DeepEqual(set.Keys[0], want) {
		t.Errorf("keys are %v, want %v", set.Keys, want)
	}
	failing = true
	env.get(t, "/.well-known/jwks.json").wantFailure(t, 503, "UNAVAILABLE")
	env.get(t, "/.well-known/nothing").wantFailure(t, 404, "ROUTE_NOT_FOUND")
}

func TestChallenges(t *testing.T) {
	env, _ := newServedEnv(t)
	for _, test := range []struct{ name, token, reason, challenge string }{
		{"no token", "", "ACCESS_TOKEN_MISSING", `Bearer realm="gatehouse"`},
		{"bad token", "Authorization: Bearer nonsense", "ACCESS_TOKEN_INVALID", `Bearer realm="gatehouse", error="invalid_token"`},
	} {
		var headers []string
		if test.token != "" {
			headers = append(headers, test.token)
		}
		got := env.get(t, "/v1/users/me", headers...)
		got.wantFailure(t, 401, test.reason)
		got.wantHeader(t, "WWW-Authenticate", test.challenge)
	}
	// Two headers: services could each read another one.
	env.get(t, "/v1/users/me", "Authorization: Bearer a", "Authorization: Bearer b").
		wantFailure(t, 401, "ACCESS_TOKEN_INVALID")
}

func TestHTTPStatus(t *testing.T) {
	for _, test := range []struct {
		err        error
		status     int
		reason     string
		retryAfter string
	}{
		{apierr.EmailTaken(), 409, "EMAIL_TAKEN", ""},
		{apierr.InvalidCredentials(), 401, "INVALID_CREDENTIALS", ""},
		{apierr.UserNotFound(), 404, "USER_NOT_FOUND", ""},
		{apierr.Overloaded(1500 * time.Millisecond), 429, "OVERLOADED", "2"},
		{apierr.Unavailable(errTest), 503, "UNAVAILABLE", "1"},
		{apierr.DeadlineExceeded(errTest), 504, "DEADLINE_EXCEEDED", ""},
		{apierr.Cancelled(errTest), 499, "CANCELLED", ""},
		{apierr.Internal(errTest), 500, "INTERNAL", ""},
		{errTest, 500, "INTERNAL", ""},
	} {
		t.Run(test.reason, func(t *testing.T) {
			u := newUpstream(t)
			u.createUser = func(context.Context, *gatehousev1.CreateUserRequest) error { return test.err }
			conn := u.serve(t)
			got := newTestEnv(t, conn, conn).post(t, "/v1/users", `{}`)
			got.wantFailure(t, test.status, test.reason)
			if after := got.Header.Get("Retry-After"); after != test.retryAfter {
				t.Errorf("Retry-After is %q, want %q", after, test.retryAfter)
			}
			if challenge := got.Header.Get("WWW-Authenticate"); challenge != "" {
				t.Errorf("a browser would ask for a password: %q", challenge)
			}
			if strings.Contains(got.text, errTest.Error()) {
				t.Errorf("the caller reads the cause: %s", got.text)
			}
		})
	}
}

func TestRESTRequestID(t *testing.T) {
	env, u := newServedEnv(t)
	taken := env.post(t, "/v1/users", `{}`, "X-Request-Id: from-the_client.7")
	taken.wantHeader(t, "X-Request-Id", "from-the_client.7")
	if got := u.lastSeen().Get("x-request-id"); !reflect.DeepEqual(got, []string{"from-the_client.7"}) {
		t.Errorf("the upstream gets the id %q", got)
	}
	for _, invalid := range []string{"", "two words", `a"b`, strings.Repeat("a", 129), "ä", "a,b"} {
		got := env.post(t, "/v1/users", `{}`, "X-Request-Id: "+invalid).Header.Get("X-Request-Id")
		if _, err := uuid.Parse(got); err != nil {
			t.Errorf("%q is answered with the id %q", invalid, got)
		}
		if failed := u.lastSeen().Get("x-request-id"); !reflect.DeepEqual(failed, []string{got}) {
			t.Errorf("the upstream gets the id %q, the client %q", failed, got)
		}
	}
	if log := env.stop(t); !strings.Contains(log, `"request_id":"from-the_client.7"`) {
		t.Errorf("the log lacks the request id: %s", log)
	}
}

// TestForwardedHeaders checks that no header of a client passes for metadata of the gateway.
func TestForwardedHeaders(t *testing.T) {
	env, u := newServedEnv(t)
	token := u.token(t)
	rest := func() {
		env.get(t, "/v1/users/me", "Authorization: Bearer "+token, "X-Request-Id: one", "Grpc-Metadata-X-User-Id: admin",
			"Grpc-Metadata-Authorization: Bearer other", "X-User-Id: admin", "Cookie: a=b", "X-Forwarded-For: 1.2.3.4",
			"Grpc-Metadata-X-Bytes-Bin: AAAA", "Grpc-Timeout: 5S", "X-Gatehouse-Client-Address: 1.2.3.4",
			"Grpc-Metadata-X-Gatehouse-Client-Address: 1.2.3.4", "X-Gatehouse-Service: cache",
			"X-Gatehouse-Service-Credential: guessed", "Grpc-Metadata-X-Gatehouse-Service: cache",
			"Grpc-Metadata-X-Gatehouse-Service-Credential: guessed", "User-Agent: browser").wantOK(t)
	}
	native := func() {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token,
			"x-request-id", "one", "x-user-id", "admin", "x-bytes-bin", "\x00", "cookie", "a=b", "grpcgateway-authorization", "b",
			"x-gatehouse-client-address", "1.2.3.4", "x-gatehouse-user-agent-bin", "forged", "x-forwarded-for", "1.2.3.4",
			"x-gatehouse-service", "cache", "x-gatehouse-service-credential", "guessed"))
		if _, err := gatehousev1.NewUserServiceClient(env.conn).ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"}); err != nil {
			t.Error(err)
		}
	}
	for name, call := range map[string]func(){"REST": rest, "gRPC": native} {
		call()
		agent := map[string]string{"REST": "browser", "gRPC": "grpc-go/" + grpc.Version}[name]
		seen := u.lastSeen()
		// These are of the connection between gateway and upstream.
		for _, own := range []string{":authority", "content-type", "grpc-accept-encoding", "user-agent"} {
			delete(seen, own)
		}
		want := metadata.Pairs(append(credential.Metadata(), "authorization", "Bearer "+token, "x-request-id", "one",
			"x-gatehouse-client-address", "127.0.0.1", "x-gatehouse-user-agent-bin", agent)...)
		if !reflect.DeepEqual(seen, want) {
			t.Errorf("%s: the upstream gets %v, want %v", name, seen, want)
		}
	}
}
