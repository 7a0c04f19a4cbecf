package e2e

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/openapi"
)

// documented are the operations of the OpenAPI document by their ids, as far as these tests read them.
func documented(t *testing.T) map[string]operation {
	t.Helper()
	var document struct {
		Paths map[string]map[string]operation `json:"paths"`
	}
	if err := json.Unmarshal(openapi.Document(), &document); err != nil {
		t.Fatal(err)
	}
	operations := map[string]operation{}
	for path, verbs := range document.Paths {
		for verb, op := range verbs {
			op.path, op.verb = path, strings.ToUpper(verb)
			operations[op.ID] = op
		}
	}
	return operations
}

type operation struct {
	path, verb string

	ID         string `json:"operationId"`
	Parameters []struct {
		Name    string          `json:"name"`
		In      string          `json:"in"`
		Example json.RawMessage `json:"example"`
	} `json:"parameters"`
	RequestBody struct {
		Required bool `json:"required"`
		Content  map[string]struct {
			Example json.RawMessage `json:"example"`
		} `json:"content"`
	} `json:"requestBody"`
	Responses map[string]any `json:"responses"`
}

// TestDocumentErrorCoverage looks up the status of each case of the corpus, which TestCorpus sees in answers.
func TestDocumentErrorCoverage(t *testing.T) {
	t.Parallel()
	operations := documented(t)
	for _, c := range corpus {
		op, found := operations[strings.ReplaceAll(c.method, "/", "_")]
		if !found {
			continue // a method without a route
		}
		if _, listed := op.Responses[strconv.Itoa(c.http)]; !listed && c.http >= http.StatusBadRequest {
			t.Errorf("%s: %s answers %d (%s), which the document does not list", c.name, op.ID, c.http, c.reason)
		}
	}
}
