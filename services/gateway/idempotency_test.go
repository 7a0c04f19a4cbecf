package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// signUpLog stores the request ids of the sign-ups that reach an upstream.
type signUpLog struct {
	mutex sync.Mutex
	ids   []string
}

func (l *signUpLog) create(_ context.Context, request *gatehousev1.CreateUserRequest) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.ids = append(l.ids, request.GetRequestId())
	return nil
}

func (l *signUpLog) take() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	ids := l.ids
	l.ids = nil
	return ids
}

// signUp signs up over a transport, with these idempotency keys, and returns the name of the reason of the error, or ""
// without an error.
func (env *testEnv) signUp(t *testing.T, transport string, keys []string, requestID string) string {
	t.Helper()
	if transport == "REST" {
		var headers []string
		for _, key := range keys {
			headers = append(headers, "Idempotency-Key: "+key)
		}
		got := env.post(t, "/v1/users", fmt.Sprintf(
			`{"email":"ada@example.com","fullName":"Ada","password":%q,"requestId":%q}`, secret, requestID), headers...)
		if got.StatusCode == http.StatusOK {
			return ""
		}
		_, reason, _ := strings.Cut(got.text, `"reason":"`)
		reason, _, _ = strings.Cut(reason, `"`)
		return reason
	}
	ctx := t.Context()
	for _, key := range keys {
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
	}
	_, err := gatehousev1.NewUserServiceClient(env.conn).CreateUser(ctx, &gatehousev1.CreateUserRequest{
		Email: "ada@example.com", FullName: "Ada", Password: secret, RequestId: requestID,
	})
	if err == nil {
		return ""
	}
	return apierr.ReasonName(apierr.ReasonOf(status.Convert(err)))
}

// TestIdempotencyKey makes the same sign-ups over both transports: with a cache service that serves, and with one that
// loses the answer, after which the gateway repeats a sign-up with a request id at the store.
func TestIdempotencyKey(t *testing.T) {
	died := status.Error(codes.Unavailable, "error reading from server: EOF")
	for _, test := range []struct {
		name         string
		keys         []string
		field, id    string
		reason, lost string // of the errors of both cache services
	}{
		{"field", nil, "one", "one", "", ""},
		{"key", []string{"one"}, "", "one", "", ""},
		{"key_in_quotes", []string{`"one"`}, "", "one", "", ""},
		{"key_with_escapes", []string{`"o\"n\\e"`}, "", `o"n\e`, "", ""},
		{"key_and_field", []string{"one"}, "one", "one", "", ""},
		{"key_and_another_field", []string{"one"}, "two", "", "MALFORMED_REQUEST", "MALFORMED_REQUEST"},
		{"empty_key", []string{`""`}, "", "", "MALFORMED_REQUEST", "MALFORMED_REQUEST"},
		{"two_keys", []string{"one", "two"}, "", "", "MALFORMED_REQUEST", "MALFORMED_REQUEST"},
		{"neither", nil, "", "", "", "UNAVAILABLE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, transport := range []string{"REST", "gRPC"} {
				u, log := newUpstream(t), &signUpLog{}
				u.createUser = log.create
				store := u.serve(t)
				for name, cache := range map[string]struct {
					conn   grpc.ClientConnInterface
					reason string
				}{"serving": {store, test.reason}, "losing the answer": {stubConn{died}, test.lost}} {
					env := newTestEnv(t, cache.conn, store)
					if reason := env.signUp(t, transport, test.keys, test.field); reason != cache.reason {
						t.Errorf("%s, cache service %s: the reason is %q, want %q", transport, name, reason, cache.reason)
					}
					ids := log.take()
					if made := len(ids) == 1 && ids[0] == test.id; made != (cache.reason == "") {
						t.Errorf("%s, cache service %s: sign-ups were made with %q, want %q", transport, name, ids, test.id)
					}
					env.wantBystanderServed(t)
				}
			}
		})
	}
	t.Run("call_without_a_request_id", func(t *testing.T) {
		env, u := newServedEnv(t)
		token := "Bearer " + u.token(t)
		env.get(t, "/v1/users/me", "Authorization: "+token, "Idempotency-Key: a", "Idempotency-Key: b").wantOK(t)
		ctx := metadata.AppendToOutgoingContext(t.Context(),
			"authorization", token, "idempotency-key", "a", "idempotency-key", "b")
		_, err := gatehousev1.NewUserServiceClient(env.conn).ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"})
		if err != nil {
			t.Error(err)
		}
	})
}
