package gateway

import (
	"encoding/binary"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

const (
	largeAnswer = 90 << 10

	// largeAnswersPerClient is how many large answers a client may leave unread.
	largeAnswersPerClient = edge.MaxAnswerBytesPerClient / (largeAnswer - edge.MaxSmallAnswer)
)

// wantLargeAnswers fails the test unless a client at the address gets a large answer over both transports, and all of
// it.
func (env *testEnv) wantLargeAnswers(t *testing.T, address, token string) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", token)
	response, err := gatehousev1.NewUserServiceClient(env.grpcFrom(t, address)).
		ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"})
	if err != nil || len(response.GetUser().GetFullName()) != largeAnswer {
		t.Errorf("over native gRPC %s gets %d bytes, %v", address, len(response.GetUser().GetFullName()), err)
	}
	whole := *env
	whole.client = httpFrom(t, address)
	answer := whole.get(t, "/v1/users/me", "Authorization: "+token)
	answer.wantOK(t)
	if len(answer.text) < largeAnswer {
		t.Errorf("over REST %s gets %d bytes", address, len(answer.text))
	}
}

// wantLargeRefused fails the test unless the attacker is refused a large answer over both transports, and gets a small
// one.
func (env *testEnv) wantLargeRefused(t *testing.T, token string) {
	t.Helper()
	refused := env.get(t, "/v1/users/me", "Authorization: "+token)
	overREST := refused.wantFailure(t, http.StatusTooManyRequests, "OVERLOADED")
	refused.wantHeader(t, "Retry-After", "1")
	if tags := refused.Header.Values("ETag"); len(tags) != 0 {
		t.Errorf("the refusal has the entity tags %q", tags)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", token)
	_, err := env.raw(ctx, gatehousev1.UserService_ReadUser_FullMethodName, readMe(t))
	st := status.Convert(err)
	if apierr.ReasonOf(st) != overloaded || len(st.Details()) != 2 || st.Message() != overREST.Message {
		t.Errorf("native gRPC gets %v, and REST %q", err, overREST.Message)
	}
	if _, err := env.raw(t.Context(), gatehousev1.KeyService_ListKeys_FullMethodName, nil); err != nil {
		t.Errorf("a small answer over native gRPC: %v", err)
	}
	// A change that was made must not seem refused.
	if _, err := env.raw(ctx, gatehousev1.UserService_UpdateUser_FullMethodName, updateMe(t)); err != nil {
		t.Errorf("a large answer to a change over native gRPC: %v", err)
	}
	env.call(t, http.MethodPatch, "/v1/users/me", strings.NewReader(`{"fullName":"Ada"}`),
		"Authorization: "+token, "Content-Type: application/json").wantOK(t)
	env.get(t, "/.well-known/jwks.json").wantOK(t)
}

func readMe(t *testing.T) []byte {
	t.Helper()
	return marshal(t, &gatehousev1.ReadUserRequest{Id: "me"})
}

func updateMe(t *testing.T) []byte {
	t.Helper()
	return marshal(t, &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", FullName: "Ada"}})
}

// TestAnswerBudget checks that large answers that a client does not take use up the share of that client only.
func TestAnswerBudget(t *testing.T) {
	newLargeEnv := func(t *testing.T) (*testEnv, string) {
		t.Helper()
		u := newUpstream(t)
		u.fullName = strings.Repeat("a", largeAnswer)
		conn := u.serve(t)
		return newTestEnv(t, conn, conn), "Bearer " + u.token(t)
	}

	t.Run("native_gRPC", func(t *testing.T) {
		env, token := newLargeEnv(t)
		conn := dialFrom(t, attacker, env.conn.Target())
		framer, decoder := withoutWindow(t, conn), hpack.NewDecoder(4096, nil)
		headers := grpcHeaders(gatehousev1.UserService_ReadUser_FullMethodName, "authorization", token)
		message := readMe(t)
		message = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
		// start returns the status of a call, or "" while its answer is unread.
		start := func(stream uint32) string {
			if err := startRequest(framer, stream, headers, false); err != nil {
				t.Fatal(err)
			}
			if err := framer.WriteData(stream, true, message); err != nil {
				t.Fatal(err)
			}
			got, fields := readHeaders(t, framer, decoder)
			if got != stream {
				t.Fatalf("stream %d, which began after the answer of another was sent, has %v", got, fields)
			}
			return fields["grpc-status"]
		}
		stream := uint32(1)
		for range largeAnswersPerClient {
			if status := start(stream); status != "" {
				t.Fatalf("stream %d has the status %s", stream, status)
			}
			stream += 2
		}
		if status := start(stream); status != "8" {
			t.Errorf("stream %d, a call beyond the share, has the status %q", stream, status)
		}
		env.wantLargeRefused(t, token)
		env.wantLargeAnswers(t, bystander, token)
		_ = conn.Close()
		env.wantNothingHeld(t)
		env.wantLargeAnswers(t, attacker, token)
		env.wantNothingHeld(t)
	})

	t.Run("REST_over_HTTP/2", func(t *testing.T) {
		env, token := newLargeEnv(t)
		conn := dialFrom(t, attacker, env.ports()["REST"])
		framer, decoder := withoutWindow(t, conn), hpack.NewDecoder(4096, nil)
		headers := requestHeaders(":method", "GET", ":scheme", "http", ":path", "/v1/users/me", ":authority", "gateway",
			"authorization", token)
		for i := range uint32(largeAnswersPerClient + 1) {
			if err := startRequest(framer, 2*i+1, headers, true); err != nil {
				t.Fatal(err)
			}
			want := "200"
			if i == largeAnswersPerClient {
				want = "429"
			}
			if _, fields := readHeaders(t, framer, decoder); fields[":status"] != want {
				t.Fatalf("request %d has %v, want %s", i, fields, want)
			}
		}
		env.wantLargeRefused(t, token)
		env.wantLargeAnswers(t, bystander, token)
		_ = conn.Close()
		env.wantNothingHeld(t)
		env.wantLargeAnswers(t, attacker, token)
		env.wantNothingHeld(t)
	})

	t.Run("a_reset_gives_the_share_back", func(t *testing.T) {
		env, token := newLargeEnv(t)
		conn := dialFrom(t, attacker, env.ports()["REST"])
		framer, decoder := withoutWindow(t, conn), hpack.NewDecoder(4096, nil)
		headers := requestHeaders(":method", "GET", ":scheme", "http", ":path", "/v1/users/me", ":authority", "gateway",
			"authorization", token)
		if err := startRequest(framer, 1, headers, true); err != nil {
			t.Fatal(err)
		}
		if _, fields := readHeaders(t, framer, decoder); fields[":status"] != "200" {
			t.Fatalf("the answer has %v", fields)
		}
		if held, clients := env.service.edge.Answers.Large.Usage(); held < largeAnswer-edge.MaxSmallAnswer || clients != 1 {
			t.Errorf("%d bytes of %d clients are held", held, clients)
		}
		if err := framer.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		env.wantNothingHeld(t)
		env.wantLargeAnswers(t, bystander, token)
	})
}
