package e2e

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"
)

// malformedCase is a fault that a message cannot have: each transport has its own way to be wrong, and both must say so
// with the same code and reason. A transport that cannot be wrong in this way is left out.
type malformedCase struct {
	name   string
	rest   func() (verb, path string, header http.Header, body []byte)
	native func() (method string, request []byte)

	code   codes.Code
	http   int
	reason string
	fields []string
	allow  string // the Allow header of a 405
}

const signUpMethod = "/gatehouse.v1.UserService/CreateUser"

// asJSON posts a body to sign-up.
func asJSON(body string) func() (string, string, http.Header, []byte) {
	return posts("application/json", body)
}

func posts(contentType, body string) func() (string, string, http.Header, []byte) {
	return func() (string, string, http.Header, []byte) {
		return http.MethodPost, "/v1/users", http.Header{"Content-Type": {contentType}}, []byte(body)
	}
}

func requests(verb, path string) func() (string, string, http.Header, []byte) {
	return func() (string, string, http.Header, []byte) { return verb, path, http.Header{}, nil }
}

// asBytes sends bytes to sign-up.
func asBytes(request []byte) func() (string, []byte) {
	return func() (string, []byte) { return signUpMethod, request }
}

func calls(method string) func() (string, []byte) {
	return func() (string, []byte) { return method, nil }
}

var malformed = []malformedCase{
	{
		name: "nonsense", rest: asJSON("{nonsense"), native: asBytes([]byte("\xff\xff\xff\xff")),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST",
	},
	{
		name: "cut off", rest: asJSON(`{"email":"ada@exa`), native: asBytes([]byte("\x0a\x7fada@exa")),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST",
	},
	{
		name: "text that is not UTF-8", rest: asJSON("{\"email\":\"\xff\xfe\"}"), native: asBytes([]byte("\x0a\x02\xff\xfe")),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST",
	},
	{
		name: "more behind the message", rest: asJSON(`{} {}`),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST",
	},
	{
		name: "a list", rest: asJSON(`[]`),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST",
	},
	{
		name: "a member twice", rest: asJSON(`{"email":"a@b.c","email":"d@e.f"}`),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST", fields: []string{"email"},
	},
	{
		name: "an unknown field", rest: asJSON(`{"email":"ada@example.com","isAdmin":true}`),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST", fields: []string{"isAdmin"},
	},
	{
		name: "a number for a text", rest: asJSON(`{"password":12345678}`),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST", fields: []string{"password"},
	},
	{
		name: "two thousand unknown fields", rest: asJSON("{" + strings.Repeat(`"x":1,`, 2000) + `"y":1}`),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST",
		fields: slices.Repeat([]string{"x"}, 16),
	},
	{
		name: "nonsense for a method that wants a token",
		rest: func() (string, string, http.Header, []byte) {
			return http.MethodGet, "/v1/users/me", http.Header{"Content-Type": {"application/json"}}, []byte("{x")
		},
		native: func() (string, []byte) { return "/gatehouse.v1.UserService/ReadUser", []byte("\xff\xff") },
		code:   codes.Unauthenticated, http: http.StatusUnauthorized, reason: "ACCESS_TOKEN_MISSING",
	},
	{
		name: "over 1 MiB", rest: asJSON(`{"email":"` + strings.Repeat("a", 1<<20) + `"}`),
		native: asBytes(append([]byte("\x0a\x80\x80\x40"), bytes.Repeat([]byte("a"), 1<<20)...)),
		code:   codes.ResourceExhausted, http: http.StatusRequestEntityTooLarge, reason: "REQUEST_TOO_LARGE",
	},
	{
		name: "no body at all", rest: requests(http.MethodPost, "/v1/users"), native: asBytes(nil),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "INVALID_FIELDS",
		fields: []string{"email REQUIRED", "full_name REQUIRED", "password REQUIRED"},
	},
	{
		name: "an unknown name in the query", rest: requests(http.MethodPost, "/v1/users?kid=1&kid=2&alg=x"),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST", fields: []string{"alg", "kid"},
	},
	{
		name: "a field of the body in the query", rest: requests(http.MethodPost, "/v1/users?email=ada@example.com"),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST", fields: []string{"email"},
	},
	{
		name: "a query that cannot be read", rest: requests(http.MethodPost, "/v1/users?a;b"),
		code: codes.InvalidArgument, http: http.StatusBadRequest, reason: "MALFORMED_REQUEST",
	},
	{
		name: "a form", rest: posts("application/x-www-form-urlencoded", "email=ada%40example.com"),
		code: codes.InvalidArgument, http: http.StatusUnsupportedMediaType, reason: "UNSUPPORTED_MEDIA_TYPE",
	},
	{
		name: "no such service", rest: requests(http.MethodGet, "/v1/secrets"), native: calls("/gatehouse.v1.SecretService/Read"),
		code: codes.Unimplemented, http: http.StatusNotFound, reason: "ROUTE_NOT_FOUND",
	},
	{
		name: "no such method", rest: requests(http.MethodGet, "/v1/users/me/secrets"), native: calls("/gatehouse.v1.UserService/Promote"),
		code: codes.Unimplemented, http: http.StatusNotFound, reason: "ROUTE_NOT_FOUND",
	},
	{
		name: "an internal service", native: calls("/gatehouse.internal.v1.ChangeService/WatchChanges"),
		code: codes.Unimplemented, reason: "ROUTE_NOT_FOUND",
	},
	{
		name: "wrong HTTP method", rest: requests(http.MethodPatch, "/v1/sessions"),
		code: codes.Unimplemented, http: http.StatusMethodNotAllowed, reason: "METHOD_NOT_ALLOWED",
		allow: "GET, HEAD, POST, DELETE",
	},
	{
		name: "wrong HTTP method for what can be read", rest: requests(http.MethodPost, "/.well-known/jwks.json"),
		code: codes.Unimplemented, http: http.StatusMethodNotAllowed, reason: "METHOD_NOT_ALLOWED", allow: "GET, HEAD",
	},
	{
		name: "writing to a page", rest: requests(http.MethodPut, "/openapi.json"),
		code: codes.Unimplemented, http: http.StatusMethodNotAllowed, reason: "METHOD_NOT_ALLOWED", allow: "GET, HEAD",
	},
	{
		name: "a file that Swagger UI does not have", rest: requests(http.MethodGet, "/docs/no-such-file.js"),
		code: codes.Unimplemented, http: http.StatusNotFound, reason: "ROUTE_NOT_FOUND",
	},
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	for name, start := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := start(t, cheapHashes...)
			for _, test := range malformed {
				t.Run(test.name, func(t *testing.T) { test.run(t, env) })
			}
		})
	}
}

func (c malformedCase) run(t *testing.T, env *testEnv) {
	want := corpusCase{code: c.code, reason: c.reason, fields: c.fields}
	if c.native != nil {
		method, request := c.native()
		want.compare(t, "gRPC", grpcBytes(callContext(t), env, method, request))
	}
	if c.rest == nil {
		return
	}
	verb, path, header, body := c.rest()
	got, err := restRequest(callContext(t), env, verb, path, header, body, &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	want.compare(t, "REST", got)
	if got.http != c.http {
		t.Errorf("HTTP status is %d, want %d", got.http, c.http)
	}
	if allow := got.header.Get("Allow"); allow != c.allow {
		t.Errorf("Allow is %q, want %q", allow, c.allow)
	}
}
