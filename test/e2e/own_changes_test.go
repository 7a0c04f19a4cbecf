package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// TestOwnChangesLimit changes a profile again and again, with a setting that admits two a minute.
func TestOwnChangesLimit(t *testing.T) {
	t.Parallel()
	env := startUp(t, t.TempDir(), "--own-changes-per-minute", "2")
	signUp(t, env, "ada@example.com")
	signUp(t, env, "grace@example.com")
	ada, grace := logIn(t, env, "ada@example.com"), logIn(t, env, "grace@example.com")
	users := gatehousev1.NewUserServiceClient(env.conn)
	rename := func(n int) error {
		_, err := users.UpdateUser(bearer(callContext(t), ada), &gatehousev1.UpdateUserRequest{
			User: &gatehousev1.User{Id: "me", FullName: fmt.Sprint("Ada ", n)},
		})
		return err
	}
	for n := range 2 {
		if err := rename(n); err != nil {
			t.Fatal(err)
		}
	}
	err := rename(2)
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted ||
		apierr.ReasonOf(st) != gatehousev1.ErrorReason_ERROR_REASON_TOO_MANY_CHANGES {
		t.Fatalf("the third change: %v", err)
	}
	waits := 0
	for _, detail := range st.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok && retry.GetRetryDelay().AsDuration() > 0 {
			waits++
		}
	}
	if waits != 1 {
		t.Errorf("details are %v, want one RetryInfo", st.Details())
	}

	limited := patch(t, http.DefaultClient, env, ada, "Ada over REST")
	if limited.status != http.StatusTooManyRequests || limited.retryAfter == "" ||
		!strings.Contains(limited.body, "TOO_MANY_CHANGES") {
		t.Errorf("REST answers %+v", limited)
	}
	bystander := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
	}}
	defer bystander.CloseIdleConnections()
	if answer := patch(t, bystander, env, grace, "Grace Brewster"); answer.status != http.StatusOK {
		t.Errorf("another user is answered %+v", answer)
	}
	// Whatever protects the account is still admitted.
	if _, err := gatehousev1.NewSessionServiceClient(env.conn).DeleteAllSessions(bearer(callContext(t), ada),
		&gatehousev1.DeleteAllSessionsRequest{}); err != nil {
		t.Errorf("a log-out everywhere: %v", err)
	}
}

// patched is the answer to a change of a profile over REST.
type patched struct {
	status           int
	retryAfter, body string
}

func patch(t *testing.T, client *http.Client, env *testEnv, token, name string) patched {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, env.rest+"/v1/users/me",
		strings.NewReader(fmt.Sprintf(`{"fullName":%q}`, name)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return patched{response.StatusCode, response.Header.Get("Retry-After"), string(body)}
}
