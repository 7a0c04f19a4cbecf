package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestRequestID looks for the id of a request in the log of every service that it passed.
func TestRequestID(t *testing.T) {
	t.Parallel()
	env := startReplicas(t, cluster.NewPrivateInfra(t, binary), 1, cheapHashes...)[0]
	header := http.Header{"Content-Type": {"application/json"}}
	send := func(id, path, body string) int {
		t.Helper()
		header.Set("X-Request-Id", id)
		status, answered, _ := fetch(t, http.MethodPost, env.rest+path, body, header)
		if got := answered.Get("X-Request-Id"); got != id {
			t.Errorf("the answer has the id %q, not %q", got, id)
		}
		return status
	}
	// A gateway that began before the cache service goes past it, until a call that can be repeated finds it.
	cache := env.processes[1]
	testkit.Eventually(t, func() error {
		send("warm-up", "/v1/users", `{"email":"grace@example.com","fullName":"Grace Hopper","password":"`+adasPassword+`",
			"requestId":"01890a5d-ac96-774b-bcce-b302099a8057"}`)
		return cache.Wrote(`"request_id":"warm-up"`)()
	})
	const signUp = `{"email":"ada@example.com","fullName":"Ada Lovelace","password":"` + adasPassword + `"}`
	if status := send("a-call", "/v1/users", signUp); status != http.StatusOK {
		t.Fatalf("the sign-up is answered %d", status)
	}
	if status := send("a-refusal", "/v1/users", signUp); status != http.StatusConflict {
		t.Errorf("the same sign-up again is answered %d", status)
	}
	env.mariadb.Kill()
	if status := send("a-fault", "/v1/sessions", `{"email":"ada@example.com","password":"x"}`); status != http.StatusServiceUnavailable {
		t.Errorf("without a database the log-in is answered %d", status)
	}
	for id, levels := range map[string][]string{
		"a-call": {"INFO", "DEBUG"}, "a-refusal": {"INFO", "DEBUG"}, "a-fault": {"WARN"},
	} {
		for _, process := range env.processes {
			t.Run(id+"/"+process.Args[0], func(t *testing.T) {
				testkit.Eventually(t, func() error { return process.Wrote(`"request_id":"` + id + `"`)() })
				for _, line := range linesOf(t, process.Output(), id) {
					if line.Message != "call" && line.Message != "request" {
						continue
					}
					if !slices.Contains(levels, line.Level) || line.Took == nil {
						t.Errorf("the line of the call has the level %s, and took_us: %t", line.Level, line.Took != nil)
					}
					return
				}
				t.Error("the log has no line of the call")
			})
		}
	}
}

// logLine is what a test reads of a line of a log.
type logLine struct {
	Level     string `json:"level"`
	Message   string `json:"msg"`
	RequestID string `json:"request_id"`
	Took      *int64 `json:"took_us"`
}

// linesOf returns the lines of a log that are of a request. None may have its id twice.
func linesOf(t *testing.T, log, id string) []logLine {
	t.Helper()
	var lines []logLine
	for text := range strings.Lines(log) {
		var line logLine
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.RequestID != id {
			continue
		}
		if strings.Count(text, `"request_id"`) != 1 {
			t.Errorf("the line has several ids: %s", text)
		}
		lines = append(lines, line)
	}
	return lines
}
