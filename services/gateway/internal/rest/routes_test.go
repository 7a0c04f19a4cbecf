package rest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// failingConn fails every call.
type failingConn struct{ grpc.ClientConnInterface }

func (failingConn) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return errors.New("an error of the test")
}

// TestAllowed compares the methods that the routes of the contract have for a path with those that the runtime serves.
func TestAllowed(t *testing.T) {
	front, err := edge.New(edge.Services(failingConn{}, failingConn{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	routes, err := loadRoutes(front.Methods())
	if err != nil {
		t.Fatal(err)
	}
	api, err := newAPI(t.Context(), front)
	if err != nil {
		t.Fatal(err)
	}
	serves := func(method, path string) bool {
		answer := httptest.NewRecorder()
		api.ServeHTTP(answer, httptest.NewRequest(method, path, http.NoBody))
		return answer.Code != http.StatusNotFound && answer.Code != http.StatusMethodNotAllowed
	}
	paths := map[string]bool{"/": true, "/v1/users/:disable": true, "/v1/users/a:enable:disable": true, "/v1/:rotate": true}
	for _, known := range routes {
		path := strings.NewReplacer("{id}", "a", "{user.id}", "a", "{user_id}", "a").Replace(known.template.text)
		for _, variant := range []string{
			path, path + "/", path + "/b", path + ":none", path + ":", strings.ReplaceAll(path, "a", ""), path[:len(path)-1],
		} {
			paths[variant] = true
		}
	}
	for path := range paths {
		var want []string
		for _, method := range []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		} {
			if serves(method, path) {
				want = append(want, method)
			}
		}
		if got := routes.allowed(path); got != strings.Join(want, ", ") {
			t.Errorf("%s has %q, and the runtime serves %q", path, got, want)
		}
	}
}

func TestParseTemplate(t *testing.T) {
	for _, path := range []string{"", "v1/users", "/v1/{name=users/*}", "/v1/**"} {
		if got, err := parseTemplate(path); err == nil {
			t.Errorf("%q is %v", path, got)
		}
	}
}
