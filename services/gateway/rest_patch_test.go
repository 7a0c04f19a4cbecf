package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const asJSON = "Content-Type: application/json"

func TestPatch(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	var got *gatehousev1.UpdateUserRequest
	u.updateUser = func(_ context.Context, req *gatehousev1.UpdateUserRequest) error {
		got = req
		return nil
	}
	for name, test := range map[string]struct {
		query, body, wanted string
		headers             []string
	}{
		"nothing":           {"", "", `{"user":{"id":"me"}}`, nil},
		"an empty object":   {"", "{}", `{"user":{"id":"me"}}`, nil},
		"what is in it":     {"", `{"locale":"de","full_name":"Ada"}`, `{"user":{"id":"me","locale":"de","fullName":"Ada"},"updateMask":"locale,fullName"}`, nil},
		"what it empties":   {"", `{"locale":"","timeZone":null}`, `{"user":{"id":"me"},"updateMask":"locale,timeZone"}`, nil},
		"an object":         {"", `{"metadata":{"a":{"b.c":[1]}}}`, `{"user":{"id":"me","metadata":{"a":{"b.c":[1]}}},"updateMask":"metadata"}`, nil},
		"a mask":            {"?updateMask=fullName,timeZone", `{"locale":"de"}`, `{"user":{"id":"me","locale":"de"},"updateMask":"fullName,timeZone"}`, nil},
		"a mask with _":     {"?update_mask=full_name", `{}`, `{"user":{"id":"me"},"updateMask":"fullName"}`, nil},
		"another id":        {"", `{"id":"` + userID + `"}`, `{"user":{"id":"me"},"updateMask":"id"}`, nil},
		"a version":         {"?version=7", `{}`, `{"user":{"id":"me"},"version":"7"}`, nil},
		"an If-Match":       {"", `{}`, `{"user":{"id":"me"},"version":"7"}`, []string{`If-Match: "7"`}},
		"both":              {"?version=7", `{}`, `{"user":{"id":"me"},"version":"7"}`, []string{`If-Match: "7"`}},
		"a weak tag":        {"", `{}`, `{"user":{"id":"me"},"version":"7"}`, []string{`If-Match: W/"7"`}},
		"a tag of Apache":   {"", `{}`, `{"user":{"id":"me"},"version":"7"}`, []string{`If-Match: "7-gzip"`}},
		"a list of tags":    {"", `{}`, `{"user":{"id":"me"},"version":"7"}`, []string{`If-Match: "abc", W/"7"`, `If-Match: "7"`}},
		"a key":             {"", `{}`, `{"user":{"id":"me"}}`, []string{"Idempotency-Key: a", "Idempotency-Key: "}},
		"any version":       {"", `{}`, `{"user":{"id":"me"}}`, []string{`If-Match: *`}},
		"a mask and a body": {"?updateMask=locale&version=2", `{"locale":"de"}`, `{"user":{"id":"me","locale":"de"},"updateMask":"locale","version":"2"}`, nil},
	} {
		wanted := &gatehousev1.UpdateUserRequest{}
		if err := protojson.Unmarshal([]byte(test.wanted), wanted); err != nil {
			t.Fatal(err)
		}
		answer := env.call(t, http.MethodPatch, "/v1/users/me"+test.query, strings.NewReader(test.body),
			append(test.headers, token, asJSON)...)
		answer.wantOK(t)
		answer.wantHeader(t, "ETag", `"8"`)
		if !proto.Equal(got, wanted) {
			t.Errorf("%s: the service gets %v, not %v", name, got, wanted)
		}
	}
}

func TestMalformedPatch(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	u.updateUser = func(context.Context, *gatehousev1.UpdateUserRequest) error { return apierr.VersionMismatch() }
	for name, test := range map[string]struct {
		query, body, header string
		status              int
		reason, field       string
	}{
		"metadata that is text":       {"", `{"metadata":"` + secret + `"}`, "", 400, "MALFORMED_REQUEST", "metadata"},
		"metadata that is a list":     {"", `{"metadata":[]}`, "", 400, "MALFORMED_REQUEST", "metadata"},
		"metadata with a name twice":  {"", `{"metadata":{"a":1,"a":2}}`, "", 400, "MALFORMED_REQUEST", "metadata"},
		"a number beyond numbers":     {"", `{"metadata":{"a":1e400}}`, "", 400, "MALFORMED_REQUEST", "metadata"},
		"a text for a list":           {"", `{"roles":"admin"}`, "", 400, "MALFORMED_REQUEST", "roles"},
		"an invalid time":             {"", `{"createTime":"yesterday"}`, "", 400, "MALFORMED_REQUEST", "createTime"},
		"an invalid state":            {"", `{"state":"NOPE"}`, "", 400, "MALFORMED_REQUEST", "state"},
		"an unknown field":            {"", `{"nickname":"` + secret + `"}`, "", 400, "MALFORMED_REQUEST", "nickname"},
		"a list":                      {"", `[]`, "", 400, "MALFORMED_REQUEST", ""},
		"two masks":                   {"?updateMask=locale&update_mask=locale", `{}`, "", 400, "MALFORMED_REQUEST", "updateMask"},
		"a part of the body":          {"?user.locale=de", `{}`, "", 400, "MALFORMED_REQUEST", "user.locale"},
		"a version that is no number": {"?version=new", `{}`, "", 400, "MALFORMED_REQUEST", "version"},
		"another version":             {"?version=7", `{}`, "", 409, "VERSION_MISMATCH", ""},
		"another tag":                 {"", `{}`, `If-Match: "7"`, 412, "VERSION_MISMATCH", ""},
		"another weak tag":            {"", `{}`, `If-Match: W/"7"`, 412, "VERSION_MISMATCH", ""},
		"a tag of somebody else":      {"", `{}`, `If-Match: "abc"`, 412, "VERSION_MISMATCH", ""},
		"a tag spelt otherwise":       {"", `{}`, `If-Match: "08"`, 412, "VERSION_MISMATCH", ""},
		"a tag without quotes":        {"", `{}`, `If-Match: 8`, 400, "MALFORMED_REQUEST", ""},
		"two versions":                {"", `{}`, `If-Match: "7", "8"`, 400, "MALFORMED_REQUEST", ""},
		"an invalid list":             {"", `{}`, `If-Match: "7" "7"`, 400, "MALFORMED_REQUEST", ""},
		"a tag that must not match":   {"", `{}`, `If-None-Match: "7"`, 400, "MALFORMED_REQUEST", ""},
		"different versions":          {"?version=7", `{}`, `If-Match: "8"`, 400, "MALFORMED_REQUEST", ""},
	} {
		headers := []string{token, asJSON}
		if test.header != "" {
			headers = append(headers, test.header)
		}
		failed := env.call(t, http.MethodPatch, "/v1/users/me"+test.query, strings.NewReader(test.body), headers...).
			wantFailure(t, test.status, test.reason).fields()
		if test.field != "" && failed[test.field] == "" {
			t.Errorf("%s: failed are %v", name, failed)
		}
	}
}
