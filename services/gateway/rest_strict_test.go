package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// TestUnknownQueryName checks that query names which the generated handlers would ignore are rejected.
func TestUnknownQueryName(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	const malformed = "MALFORMED_REQUEST"
	for _, test := range []struct {
		query, body string
		fields      []string
	}{
		{query: "keepCurrnet=true", fields: []string{"keepCurrnet"}},
		{query: "keepcurrent=true", fields: []string{"keepcurrent"}},
		{query: "keepCurrent=true&x=1&keep_current.y=1", fields: []string{"keep_current.y", "x"}},
		{query: "keepCurrent=true;x"},
		{query: "keepCurrent=%zz"},
		{query: "keepCurrent=yes", fields: []string{"keepCurrent"}},
		{query: "keepCurrent", fields: []string{"keepCurrent"}},
		{body: `{"keepCurrent":true}`},
		{query: "_=1", fields: []string{"_"}},
	} {
		answer := env.call(t, http.MethodDelete, "/v1/sessions?"+test.query, strings.NewReader(test.body),
			token, "Content-Type: application/json")
		failed := answer.wantFailure(t, http.StatusBadRequest, malformed).fields()
		for _, field := range test.fields {
			if failed[field] == "" {
				t.Errorf("%s: the violations are %v, not %s", test.query, failed, field)
			}
		}
		if len(failed) != len(test.fields) {
			t.Errorf("%s: failed are %v", test.query, failed)
		}
	}
	for _, query := range []string{"", "?", "?keepCurrent=true", "?keep_current=false"} { // The upstream of the test has no such call.
		for _, body := range []string{"", "{}", " { } \n"} {
			env.call(t, http.MethodDelete, "/v1/sessions"+query, strings.NewReader(body), token).
				wantFailure(t, http.StatusNotFound, "ROUTE_NOT_FOUND")
		}
	}
}
