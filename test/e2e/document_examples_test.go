package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// exampleAnswers are what the examples of operations are answered the first and the second time, where that is not
// success both times: what has ended, or is of nobody, is said to be so, and never that the request is wrong.
var exampleAnswers = map[string][2]string{
	"UserService_CreateUser":           {"", "EMAIL_TAKEN"},
	"UserService_DeleteUser":           {"", "SESSION_ENDED"},
	"SessionService_RefreshSession":    {"REFRESH_TOKEN_INVALID", "REFRESH_TOKEN_INVALID"}, // nobody's token
	"SessionService_DeleteSession":     {"", "SESSION_ENDED"},
	"SessionService_DeleteAllSessions": {"", "SESSION_ENDED"},
	"SessionService_ChangePassword":    {"", "SESSION_ENDED"},
	"AdminService_DisableUser":         {"USER_NOT_FOUND", "USER_NOT_FOUND"}, // nobody's id
	"AdminService_EnableUser":          {"USER_NOT_FOUND", "USER_NOT_FOUND"},
	"AdminService_SetRoles":            {"USER_NOT_FOUND", "USER_NOT_FOUND"},
	"AdminService_ResetUserPassword":   {"USER_NOT_FOUND", "USER_NOT_FOUND"},
	"AdminService_DeleteUserSessions":  {"USER_NOT_FOUND", "USER_NOT_FOUND"},
}

// TestDocumentExamples sends the example of every operation as Swagger UI fills it in, twice; the second time without a
// body that is not required.
func TestDocumentExamples(t *testing.T) {
	t.Parallel()
	env := startUp(t, t.TempDir(), cheapHashes...)
	admin := logIn(t, env, makeAdmin(t, env, "admin@example.com"))
	operations := documented(t)
	// Sign-up first: log-in is with its example.
	ids := slices.SortedFunc(maps.Keys(operations), func(a, b string) int { return strings.Compare(b, a) })
	for _, id := range ids {
		t.Run(id, func(t *testing.T) {
			op := operations[id]
			token := admin
			if !strings.HasPrefix(id, "AdminService") && id != "UserService_ListUsers" {
				token = newExampleUser(t, env, id)
			}
			for attempt, want := range exampleAnswers[id] {
				if attempt > 0 && !op.RequestBody.Required {
					op.RequestBody.Content = nil
				}
				if got := op.sendExample(t, env, token); got != want {
					t.Errorf("attempt %d is refused with the reason %q, want %q", attempt+1, got, want)
				}
			}
		})
	}
}

// newExampleUser returns an access token of a new user who has the password of the examples.
func newExampleUser(t *testing.T, env *testEnv, name string) string {
	t.Helper()
	const password = "correct horse battery staple"
	email := name + "@example.com"
	_, err := gatehousev1.NewUserServiceClient(env.conn).CreateUser(callContext(t),
		&gatehousev1.CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	session, err := gatehousev1.NewSessionServiceClient(env.conn).CreateSession(callContext(t),
		&gatehousev1.CreateSessionRequest{Email: email, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return session.GetAccessToken()
}

// sendExample sends the examples of the body and of the parameters, and returns the reason of the answer, which is
// empty for a success.
func (op operation) sendExample(t *testing.T, env *testEnv, token string) (reason string) {
	t.Helper()
	path, query, header := op.path, url.Values{}, http.Header{"Authorization": {"Bearer " + token}}
	for _, parameter := range op.Parameters {
		if parameter.Example == nil {
			continue
		}
		var value any
		if err := json.Unmarshal(parameter.Example, &value); err != nil {
			t.Fatal(err)
		}
		switch text := fmt.Sprint(value); parameter.In {
		case "path":
			path = strings.Replace(path, "{"+parameter.Name+"}", url.PathEscape(text), 1)
		case "query":
			query.Set(parameter.Name, text)
		case "header":
			header.Set(parameter.Name, text)
		}
	}
	body := op.RequestBody.Content["application/json"].Example
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	request, err := http.NewRequestWithContext(callContext(t), op.verb, env.rest+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		return ""
	}
	var failure struct {
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	if err := json.Unmarshal(answer, &failure); err != nil || len(failure.Details) == 0 {
		t.Fatalf("%s: %s", response.Status, answer)
	}
	return failure.Details[0].Reason
}
