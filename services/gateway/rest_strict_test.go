package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// TestNobodyIsLoggedOutByATypo: what the generated handlers would pass over must not change what a call does.
func TestNobodyIsLoggedOutByATypo(t *testing.T) {
	h, u := newServedHouse(t)
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
		answer := h.call(t, http.MethodDelete, "/v1/sessions?"+test.query, strings.NewReader(test.body),
			token, "Content-Type: application/json")
		told := answer.wantFailure(t, http.StatusBadRequest, malformed).fields()
		for _, field := range test.fields {
			if told[field] == "" {
				t.Errorf("%s: told are %v, not %s", test.query, told, field)
			}
		}
		if len(told) != len(test.fields) {
			t.Errorf("%s: told are %v", test.query, told)
		}
	}
	for _, query := range []string{"", "?", "?keepCurrent=true", "?keep_current=false"} { // The upstream of the test has no such call.
		for _, body := range []string{"", "{}", " { } \n"} {
			h.call(t, http.MethodDelete, "/v1/sessions"+query, strings.NewReader(body), token).
				wantFailure(t, http.StatusNotFound, "ROUTE_NOT_FOUND")
		}
	}
}
