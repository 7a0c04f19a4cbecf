//go:build long

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// client makes calls at one gateway over one transport. An error is a status, or what kept one from being heard.
type client interface {
	call(ctx context.Context, token string, request, response proto.Message) error
	fmt.Stringer
}

// methods are the native names of what the workers call, by request.
var methods = map[string]string{
	"CreateUserRequest": "UserService", "ReadUserRequest": "UserService", "UpdateUserRequest": "UserService",
	"DeleteUserRequest": "UserService", "CreateSessionRequest": "SessionService", "RefreshSessionRequest": "SessionService",
	"ReadSessionRequest": "SessionService", "ListSessionsRequest": "SessionService", "DeleteSessionRequest": "SessionService",
	"DeleteAllSessionsRequest": "SessionService", "ChangePasswordRequest": "SessionService",
}

// native is a client over gRPC.
type native struct {
	gateway int
	conn    *grpc.ClientConn
}

func newNative(t *testing.T, gateway int, address string) *native {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A gateway that was killed is found again soon.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &native{gateway, conn}
}

func (n *native) String() string { return fmt.Sprintf("gRPC gateway%d", n.gateway) }

func (n *native) call(ctx context.Context, token string, request, response proto.Message) error {
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	name := string(request.ProtoReflect().Descriptor().Name())
	return n.conn.Invoke(ctx, "/gatehouse.v1."+methods[name]+"/"+strings.TrimSuffix(name, "Request"), request, response)
}

// rest is a client over HTTP and JSON.
type rest struct {
	gateway int
	base    string
	http    *http.Client
}

func newREST(t *testing.T, gateway int, address string) *rest {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	return &rest{gateway, "http://" + address, &http.Client{Transport: transport}}
}

func (r *rest) String() string { return fmt.Sprintf("REST gateway%d", r.gateway) }

func (r *rest) call(ctx context.Context, token string, request, response proto.Message) error {
	made, err := restRequest(request)
	if err != nil {
		return err
	}
	sent, err := http.NewRequestWithContext(ctx, made.verb, r.base+made.path, bytes.NewReader(made.body))
	if err != nil {
		return err
	}
	if made.body != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	if made.ifMatch != "" {
		sent.Header.Set("If-Match", made.ifMatch)
	}
	if token != "" {
		sent.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := r.http.Do(sent)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode == http.StatusOK {
		return protojson.Unmarshal(content, response)
	}
	var failed spb.Status
	if err := protojson.Unmarshal(content, &failed); err != nil {
		return fmt.Errorf("the answer %d is no status: %w", answer.StatusCode, err)
	}
	return status.FromProto(&failed).Err()
}

// httpRequest is what the routes of the contract make of a request.
type httpRequest struct {
	verb, path, ifMatch string
	body                []byte
}

func restRequest(request proto.Message) (httpRequest, error) {
	made := httpRequest{verb: http.MethodPost}
	var body proto.Message
	switch r := request.(type) {
	case *gatehousev1.CreateUserRequest:
		made.path, body = "/v1/users", r
	case *gatehousev1.CreateSessionRequest:
		made.path, body = "/v1/sessions", r
	case *gatehousev1.RefreshSessionRequest:
		made.path, body = "/v1/sessions:refresh", r
	case *gatehousev1.ChangePasswordRequest:
		made.path = "/v1/users/me:changePassword"
		body = &gatehousev1.ChangePasswordRequest{CurrentPassword: r.GetCurrentPassword(), NewPassword: r.GetNewPassword()}
	case *gatehousev1.ReadUserRequest:
		made.verb, made.path = http.MethodGet, "/v1/users/me"
	case *gatehousev1.ReadSessionRequest:
		made.verb, made.path = http.MethodGet, "/v1/sessions/current"
	case *gatehousev1.ListSessionsRequest:
		made.verb, made.path = http.MethodGet, "/v1/sessions"
	case *gatehousev1.UpdateUserRequest:
		made.verb, made.path = http.MethodPatch, "/v1/users/me"
		body = &gatehousev1.User{FullName: r.GetUser().GetFullName()}
		if r.GetVersion() != 0 {
			made.ifMatch = fmt.Sprintf(`"%d"`, r.GetVersion())
		}
	case *gatehousev1.DeleteUserRequest:
		made.verb, made.path = http.MethodDelete, "/v1/users/me"
	case *gatehousev1.DeleteSessionRequest:
		made.verb, made.path = http.MethodDelete, "/v1/sessions/"+r.GetId()
	case *gatehousev1.DeleteAllSessionsRequest:
		made.verb, made.path = http.MethodDelete, fmt.Sprintf("/v1/sessions?keepCurrent=%t", r.GetKeepCurrent())
	default:
		return made, fmt.Errorf("no route for %T", request)
	}
	if body == nil {
		return made, nil
	}
	var err error
	made.body, err = protojson.Marshal(body)
	return made, err
}

// judge reports what an error says of a call: nothing is known after one that could not be heard, or that says so
// itself. An error of Gatehouse's own making is no refusal either.
func judge(err error) (outcome, string) {
	if err == nil {
		return accepted, ""
	}
	said, is := status.FromError(err)
	if !is {
		return unknown, transportError(err)
	}
	reason := strings.TrimPrefix(apierr.ReasonOf(said).String(), "ERROR_REASON_")
	switch reason {
	case "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL":
		return unknown, reason
	case "UNSPECIFIED":
		return unknown, said.Code().String() + ": " + said.Message()
	default:
		return refused, reason
	}
}

func transportError(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if at, is := errors.AsType[*net.OpError](err); is {
		return at.Op + ": " + at.Err.Error() // without the ports
	}
	if at, is := errors.AsType[*url.Error](err); is {
		return at.Err.Error() // without the path
	}
	return err.Error()
}
