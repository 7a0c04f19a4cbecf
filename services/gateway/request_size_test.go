package gateway

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// TestRequestTooLarge announces requests and sends nothing of them: the refusal must not wait for what is refused.
func TestRequestTooLarge(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Bearer " + u.token(t)
	for _, test := range []struct {
		name, verb, path, method string
		size                     int
	}{
		{"public", http.MethodPost, "/v1/users", gatehousev1.UserService_CreateUser_FullMethodName, edge.MaxSmallRequest + 1},
		{"public, far over", http.MethodPost, "/v1/sessions", gatehousev1.SessionService_CreateSession_FullMethodName, 1 << 30},
		{"of a user", http.MethodPatch, "/v1/users/me", gatehousev1.UserService_UpdateUser_FullMethodName, edge.MaxLargeRequest + 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := dialFrom(t, attacker, strings.TrimPrefix(env.base, "http://"))
			head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"+
				"Authorization: %s\r\nContent-Length: %d\r\n\r\n", test.verb, test.path, token, test.size)
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			refused := &answer{response, string(text)}
			refused.wantFailure(t, http.StatusRequestEntityTooLarge, "REQUEST_TOO_LARGE")

			announce(t, env, test.method, token, test.size)
		})
	}
	wantServed(t, env, u, bystander)
}

// announce sends the prefix of a message and nothing of it.
func announce(t *testing.T, env *testEnv, method, token string, size int) {
	t.Helper()
	prefix := binary.BigEndian.AppendUint32([]byte{0}, uint32(size))
	body, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	go func() { _, _ = writer.Write(prefix) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+env.conn.Target()+method, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	request.Header.Set("Authorization", token)
	response, err := http2Client(t, attacker).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	wantStatus(t, statusOf(t, response), codes.ResourceExhausted, "REQUEST_TOO_LARGE")
}
