package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

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

// signUp signs up over a transport, with an idempotency key unless it is empty, and returns the name of the reason of
// the refusal, or "" if there is none.
func (env *testEnv) signUp(t *testing.T, transport, key, requestID string) string {
	t.Helper()
	if transport == "REST" {
		var headers []string
		if key != "" {
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
	if key != "" {
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

// TestLostAnswer: a sign-up whose answer the cache service has lost is made again over both transports, if it has a
// request id.
func TestLostAnswer(t *testing.T) {
	died := status.Error(codes.Unavailable, "error reading from server: EOF")
	for _, test := range []struct{ name, key, field, id, reason string }{
		{"with the field", "", "one", "one", ""},
		{"with a key", "one", "", "one", ""},
		{"with a key in quotes", `"o\"ne"`, "", `o"ne`, ""},
		{"with both", "one", "one", "one", ""},
		{"with two that differ", "one", "two", "", "MALFORMED_REQUEST"},
		{"without", "", "", "", "UNAVAILABLE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, transport := range []string{"REST", "gRPC"} {
				u, log := newUpstream(t), &signUpLog{}
				u.createUser = log.create
				env := newTestEnv(t, stubConn{died}, u.serve(t))
				if reason := env.signUp(t, transport, test.key, test.field); reason != test.reason {
					t.Errorf("%s: the reason is %q, want %q", transport, reason, test.reason)
				}
				ids := log.take()
				if made := len(ids) == 1 && ids[0] == test.id; made != (test.reason == "") {
					t.Errorf("%s: sign-ups were made with %q, want %q", transport, ids, test.id)
				}
				env.wantBystanderServed(t)
			}
		})
	}
}
