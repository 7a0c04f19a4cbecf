package grpcx_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// forged is what a stranger says to look like a gateway that speaks for a client.
var forged = []string{
	"x-gatehouse-client-address", "203.0.113.7", "x-gatehouse-user-agent-bin", "forged", "x-request-id", "forged-id",
}

// dialRaw connects without any interceptor of ours.
func (h *testEnv) dialRaw(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///in-process", grpcx.InProcess(h.listener),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestServiceCredential(t *testing.T) {
	const key, role = "x-gatehouse-service-credential", "x-gatehouse-service"
	for _, test := range []struct {
		name     string
		metadata []string
		admitted authn.Peer
	}{
		{"admits a gateway", []string{key, serviceToken, role, "gateway"}, authn.PeerGateway},
		{"admits a cache", []string{key, serviceToken, role, "cache"}, authn.PeerCache},
		{"is required", nil, ""},
		{"is required beside a role", []string{role, "gateway"}, ""},
		{"needs a role", []string{key, serviceToken}, ""},
		{"needs a known role", []string{key, serviceToken, role, "store"}, ""},
		{"is refused with two roles", []string{key, serviceToken, role, "gateway", role, "cache"}, ""},
		{"is refused if wrong", []string{key, serviceToken[1:] + "x", role, "gateway"}, ""},
		{"is refused if longer", []string{key, serviceToken + "x", role, "gateway"}, ""},
		{"is refused if shorter", []string{key, serviceToken[1:], role, "gateway"}, ""},
		{"is refused if empty", []string{key, "", role, "gateway"}, ""},
		{"is refused if given twice", []string{key, serviceToken, key, serviceToken, role, "gateway"}, ""},
		{"is not a bearer token", []string{"authorization", "Bearer " + serviceToken, role, "gateway"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newTestEnv(t)
			var peer authn.Peer
			var client callctx.Client
			var id string
			h.service.create = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
				peer, client, id = authn.PeerFrom(ctx), callctx.ClientFrom(ctx), callctx.RequestID(ctx)
				return nil
			}
			users := gatehousev1.NewUserServiceClient(h.dialRaw(t))
			ctx := metadata.AppendToOutgoingContext(t.Context(), append(forged, test.metadata...)...)
			_, err := users.CreateUser(ctx, newUser())
			if test.admitted == "" {
				wantStatus(t, err, codes.Unauthenticated, "SERVICE_CREDENTIAL_INVALID")
				// An access token does not stand in for the credential, and a public method needs it no less.
				ctx = metadata.AppendToOutgoingContext(ctx, authn.AuthorizationKey, h.bearer(t))
				_, err = users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"})
				wantStatus(t, err, codes.Unauthenticated, "SERVICE_CREDENTIAL_INVALID")
				if h.service.calls != 0 {
					t.Error("a refused call reached the handler")
				}
				// Nobody else suffers from it.
				if _, err := h.users.CreateUser(t.Context(), newUser()); err != nil {
					t.Errorf("a service beside it: %v", err)
				}
			} else if err != nil || peer != test.admitted || client.Address != "203.0.113.7" || client.UserAgent != "forged" || id != "forged-id" {
				t.Errorf("the handler sees %q, %+v, %q; error %v", peer, client, id, err)
			}
			log := h.stop(t)
			if strings.Contains(log, serviceToken) || strings.Contains(log, serviceToken[1:]) {
				t.Errorf("the log holds the token: %s", log)
			}
			if accepted := strings.Contains(log, "forged-id") || strings.Contains(log, "203.0.113.7"); accepted != (test.admitted != "") {
				t.Errorf("the log has the sender's claims: %v: %s", accepted, log)
			}
		})
	}
}

func TestHealthCheck(t *testing.T) {
	t.Run("is_open_to_who_claims_nothing_and_to_services", func(t *testing.T) {
		h := newTestEnv(t)
		for _, conn := range []*grpc.ClientConn{h.dialRaw(t), h.conn} {
			response, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health is %v, %v", response, err)
			}
		}
	})
	t.Run("accepts_nothing_of_an_unauthenticated_caller", func(t *testing.T) {
		h := newTestEnv(t)
		ctx := metadata.AppendToOutgoingContext(t.Context(), forged...)
		if _, err := healthpb.NewHealthClient(h.dialRaw(t)).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		if log := h.stop(t); strings.Contains(log, "forged") || strings.Contains(log, "203.0.113.7") {
			t.Errorf("the log has the sender's claims: %s", log)
		}
	})
	t.Run("tells_a_service_that_its_credential_is_wrong", func(t *testing.T) {
		h := newTestEnv(t)
		ctx := metadata.AppendToOutgoingContext(t.Context(),
			authn.ServiceCredential{Role: authn.PeerGateway, Token: strings.Repeat("x", 32)}.Metadata()...)
		_, err := healthpb.NewHealthClient(h.dialRaw(t)).Check(ctx, &healthpb.HealthCheckRequest{})
		wantStatus(t, err, codes.Unauthenticated, "SERVICE_CREDENTIAL_INVALID")
	})
	t.Run("is_not_watched_by_strangers", func(t *testing.T) {
		h := newTestEnv(t)
		watch, err := healthpb.NewHealthClient(h.dialRaw(t)).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = watch.Recv()
		}
		wantStatus(t, err, codes.Unauthenticated, "SERVICE_CREDENTIAL_INVALID")
	})
}

func TestStrangers(t *testing.T) {
	t.Run("are_logged_by_the_address_of_their_connection", func(t *testing.T) {
		h := newTestEnv(t)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h.serve(t, listener)
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ctx := metadata.AppendToOutgoingContext(t.Context(), forged...)
		_, err = gatehousev1.NewUserServiceClient(conn).CreateUser(ctx, newUser())
		wantStatus(t, err, codes.Unauthenticated, "SERVICE_CREDENTIAL_INVALID")
		wantLine(t, h.stop(t), `"client":"127.0.0.1"`, `"reason":"SERVICE_CREDENTIAL_INVALID"`)
	})
}

func TestDial(t *testing.T) {
	t.Run("reports_a_refused_credential_as_a_service_that_cannot_be_reached", func(t *testing.T) {
		h := newTestEnv(t)
		wrong := authn.ServiceCredential{Role: authn.PeerGateway, Token: strings.Repeat("x", 32)}
		conn, err := grpcx.Dial("passthrough:///in-process", wrong, grpcx.InProcess(h.listener))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = gatehousev1.NewUserServiceClient(conn).CreateUser(t.Context(), newUser())
		st := wantStatus(t, err, codes.Unavailable, "UNSPECIFIED")
		if !strings.Contains(st.Message(), "service token") || strings.Contains(st.Message(), wrong.Token) {
			t.Errorf("the message is %q", st.Message())
		}
	})
}
