package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// createUserMethod is a method for the public, which takes a body.
const createUserMethod = gatehousev1.UserService_CreateUser_FullMethodName

const overloaded = gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED

func keyAt(address string) shares.Key { return shares.KeyOf(netip.MustParseAddr(address)) }

// wantServed fails the test unless a client at the address is served over both transports: small calls, and for a user
// also large ones.
func wantServed(t *testing.T, env *testEnv, u *fakeUpstream, address string) {
	t.Helper()
	whole := *env
	whole.client = httpFrom(t, address)
	token := "Bearer " + u.token(t)
	users := gatehousev1.NewUserServiceClient(env.grpcFrom(t, address))
	for name, call := range map[string]func() error{
		"CreateUser": func() error {
			whole.post(t, "/v1/users", "{}").wantOK(t)
			_, err := users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
			return err
		},
		"UpdateUser": func() error {
			large := strings.Repeat("a", edge.MaxLargeRequest/2)
			whole.call(t, http.MethodPatch, "/v1/users/me", strings.NewReader(`{"fullName":"`+large+`"}`),
				"Content-Type: application/json", "Authorization: "+token).wantOK(t)
			_, err := users.UpdateUser(metadata.AppendToOutgoingContext(t.Context(), "authorization", token),
				&gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", FullName: large}})
			return err
		},
	} {
		if err := call(); err != nil {
			t.Errorf("%s from %s over native gRPC: %v", name, address, err)
		}
	}
}

// awaitCondition waits until a condition holds that a concurrent part of the gateway brings about.
func awaitCondition(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for late := time.Now().Add(10 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

// withhold announces a body of a sign-up and sends all of it but its last byte.
func withhold(t *testing.T, env *testEnv, address string, size int) {
	t.Helper()
	conn := dialFrom(t, address, strings.TrimPrefix(env.base, "http://"))
	head := fmt.Sprintf("POST /v1/users HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n", size)
	if _, err := io.WriteString(conn, head+strings.Repeat(" ", size-1)); err != nil {
		t.Fatal(err)
	}
}

// withholdMessage starts a native gRPC call and sends nothing of its message.
func withholdMessage(t *testing.T, conn *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true},
		createUserMethod)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestRequestBudget(t *testing.T) {
	t.Run("withheld_REST_bodies_take_the_share_of_their_client_only", func(t *testing.T) {
		env, u := newServedEnv(t)
		small := env.service.edge.Requests.Small
		for range edge.MaxSmallBytesPerClient / edge.MaxSmallRequest {
			withhold(t, env, attacker, edge.MaxSmallRequest)
		}
		awaitCondition(t, "the share of the client is used up", func() bool {
			held, _ := small.Usage()
			return held > edge.MaxSmallBytesPerClient-edge.InitialReservation
		})
		_, err := env.raw(t.Context(), createUserMethod, nil)
		if st := status.Convert(err); apierr.ReasonOf(st) != overloaded {
			t.Errorf("the client has room for more: %v", err)
		}
		wantServed(t, env, u, bystander)
	})
	t.Run("a_client_without_room_is_refused_alike_over_both_transports", func(t *testing.T) {
		env, u := newServedEnv(t)
		held := env.service.edge.Requests.NewReservation(keyAt(attacker))
		defer held.Release()
		mustFill(t, env.service.edge.Requests.Small, edge.MaxSmallBytesPerClient)
		refused := env.post(t, "/v1/users", "{}")
		overREST := refused.wantFailure(t, http.StatusTooManyRequests, "OVERLOADED")
		refused.wantHeader(t, "Retry-After", "1")
		_, err := env.raw(t.Context(), createUserMethod, nil)
		if st := status.Convert(err); apierr.ReasonOf(st) != overloaded || st.Message() != overREST.Message {
			t.Errorf("native gRPC gets %v, and REST %q", err, overREST.Message)
		}
		wantServed(t, env, u, bystander)
	})
	t.Run("large_requests_leave_room_for_small_ones", func(t *testing.T) {
		u := newUpstream(t)
		conn := u.serve(t)
		env := newTestEnv(t, conn, conn, func(s *Service) { s.edge.Requests.Large = shares.New(0, 0) })
		env.post(t, "/v1/users", "{}").wantOK(t)
		if _, err := env.raw(t.Context(), createUserMethod, nil); err != nil {
			t.Errorf("a small call over native gRPC: %v", err)
		}
		token := "Authorization: Bearer " + u.token(t)
		env.call(t, http.MethodPatch, "/v1/users/me", strings.NewReader(`{"fullName":"`+strings.Repeat("a", edge.MaxSmallRequest)+`"}`),
			"Content-Type: application/json", token).wantFailure(t, http.StatusTooManyRequests, "OVERLOADED")
	})
	t.Run("many_clients_that_take_all_they_get_leave_room_for_another", func(t *testing.T) {
		env, u := newServedEnv(t)
		budget := env.service.edge.Requests
		for network := range 25 {
			client := shares.KeyOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(network)}))
			for budget.Small.TryAcquire(client, edge.MaxSmallRequest) {
			}
			for budget.Large.TryAcquire(client, edge.MaxLargeRequest) {
			}
			for budget.Slow.TryAcquire(client, 1) {
			}
		}
		if !budget.Slow.TryAcquire(keyAt(bystander), 1) {
			t.Error("there is no slot for a slow call")
		}
		wantServed(t, env, u, bystander)
	})
	t.Run("calls_whose_message_is_slow_take_the_slots_of_their_client_only", func(t *testing.T) {
		env, u := newServedEnv(t)
		mustFill(t, env.service.edge.Requests.Slow, edge.MaxSlowCallsPerClient)
		err := withholdMessage(t, env.conn).RecvMsg(&gatehousev1.CreateUserResponse{})
		if apierr.ReasonOf(status.Convert(err)) != overloaded {
			t.Errorf("a call beyond the slots: %v", err)
		}
		if _, err := env.raw(t.Context(), createUserMethod, nil); err != nil {
			t.Errorf("a call whose message comes at once: %v", err)
		}
		slow := withholdMessage(t, env.grpcFrom(t, bystander))
		awaitCondition(t, "a slow call of the bystander has a slot", func() bool {
			_, clients := env.service.edge.Requests.Slow.Usage()
			return clients == 2
		})
		if err := slow.SendMsg(&gatehousev1.CreateUserRequest{}); err != nil {
			t.Fatal(err)
		}
		if err := slow.RecvMsg(&gatehousev1.CreateUserResponse{}); err != nil {
			t.Errorf("a slow call of the bystander: %v", err)
		}
		wantServed(t, env, u, bystander)
	})
	t.Run("all_is_released_however_requests_end", func(t *testing.T) {
		env, u := newServedEnv(t)
		budget := env.service.edge.Requests
		wantServed(t, env, u, bystander)
		for _, body := range []string{"{}", "{", strings.Repeat(" ", edge.MaxSmallRequest+1)} {
			_ = env.post(t, "/v1/users", body)
		}
		for _, size := range []int{0, 1, edge.MaxSmallRequest + 1, edge.MaxLargeRequest + 1} {
			_, _ = env.raw(t.Context(), createUserMethod, make([]byte, size))
		}
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := env.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, createUserMethod)
		if err != nil {
			t.Fatal(err)
		}
		awaitCondition(t, "the call is waited for", func() bool {
			held, _ := budget.Small.Usage()
			return held == edge.InitialReservation
		})
		cancel()
		_ = stream.RecvMsg(&gatehousev1.CreateUserResponse{})
		env.stop(t) // Handlers have returned.
		for name, pool := range map[string]*shares.Pool{"small": budget.Small, "large": budget.Large, "slow": budget.Slow} {
			if held, clients := pool.Usage(); held != 0 || clients != 0 {
				t.Errorf("of %s %d are held by %d clients", name, held, clients)
			}
		}
	})
}

// mustFill uses up the share of the attacker.
func mustFill(t *testing.T, pool *shares.Pool, share int64) {
	t.Helper()
	if !pool.TryAcquire(keyAt(attacker), share) {
		t.Fatal("the share is in use")
	}
}
