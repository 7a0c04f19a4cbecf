package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// listenAddress returns the address on which a command of the house serves other services.
func (h *house) listenAddress(t *testing.T, command string) string {
	t.Helper()
	for _, process := range h.processes {
		if i := slices.Index(process.Args, "--listen"); process.Args[0] == command && i > 0 {
			return process.Args[i+1]
		}
	}
	t.Fatalf("no %s runs", command)
	return ""
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	st := status.Convert(err)
	if reason := apierr.ReasonName(apierr.ReasonOf(st)); st.Code() != codes.Unauthenticated || reason != "SERVICE_CREDENTIAL_INVALID" {
		t.Errorf("error is %v, want UNAUTHENTICATED with SERVICE_CREDENTIAL_INVALID", err)
	}
}

func TestPortsOfServices(t *testing.T) {
	t.Parallel()
	servers := startServers(t)
	h := &house{database: servers.mariadb.URL("gatehouse"), redis: servers.redis, mariadb: servers.mariadb}
	store, cache, rest, native := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	h.start(t, "store", servers.store, append([]string{"--listen", store}, cheapHashes...)...)
	h.start(t, "cache", servers.cache, "--listen", cache, "--store-address", store)
	h.start(t, "gateway", servers.gateway, "--http", rest, "--grpc", native, "--cache-address", cache,
		"--store-address", store, "--drain-delay", "0s")
	h.connect(t, rest, native)
	signUp(t, h, "ada@example.com")
	token := logIn(t, h, "ada@example.com")
	for _, command := range []string{"store", "cache"} {
		t.Run(command+" refuses a stranger with an access token", func(t *testing.T) {
			conn, err := grpc.NewClient(h.listenAddress(t, command), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx := metadata.AppendToOutgoingContext(callContext(t), "authorization", "Bearer "+token,
				"x-gatehouse-client-address", "203.0.113.7", "x-gatehouse-service", "gateway", "x-request-id", "forged-id")
			users := gatehousev1.NewUserServiceClient(conn)
			_, err = users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"})
			wantRefused(t, err)
			_, err = users.CreateUser(ctx, &gatehousev1.CreateUserRequest{
				Email: "eve@example.com", FullName: "Eve", Password: adasPassword,
			})
			wantRefused(t, err)
			health, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
			if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health is %v, %v", health, err)
			}
			changes, err := internalv1.NewChangeServiceClient(conn).WatchChanges(ctx, &internalv1.WatchChangesRequest{})
			if err == nil {
				_, err = changes.Recv()
			}
			if command == "store" {
				wantRefused(t, err)
			} else if status.Code(err) != codes.Unimplemented {
				t.Errorf("a feed of a cache: %v", err)
			}
			if _, err := readMe(t, h, token); err != nil {
				t.Errorf("a client of the gateway meanwhile: %v", err)
			}
		})
	}
	for _, process := range h.processes {
		if output := process.Output(); strings.Contains(output, "203.0.113.7") || strings.Contains(output, "forged-id") {
			t.Errorf("%s believes a stranger:\n%s", process.Args[0], process.Tail())
		}
	}
	t.Run("a gateway with the second token is served", func(t *testing.T) {
		next := "GATEHOUSE_SERVICE_TOKEN=" + strings.Repeat("n", 32)
		second := &house{}
		store, cache, rest, native := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
		accepted := "GATEHOUSE_SECOND_SERVICE_TOKEN=" + strings.Repeat("n", 32)
		second.start(t, "store", append(servers.store, accepted), append([]string{"--listen", store}, cheapHashes...)...)
		second.start(t, "cache", append(servers.cache, accepted), "--listen", cache, "--store-address", store)
		second.start(t, "gateway", []string{next}, "--http", rest, "--grpc", native, "--cache-address", cache,
			"--store-address", store, "--drain-delay", "0s")
		second.connect(t, rest, native)
		if _, err := readMe(t, second, token); err != nil {
			t.Error(err)
		}
	})
	t.Run("a gateway with another token is not ready, and tells no client to log in again", func(t *testing.T) {
		wrong := &house{}
		rest, native := freeAddress(t), freeAddress(t)
		wrong.start(t, "gateway", []string{"GATEHOUSE_SERVICE_TOKEN=" + strings.Repeat("x", 32)}, "--http", rest, "--grpc", native,
			"--cache-address", cache, "--store-address", store, "--drain-delay", "0s")
		testkit.Eventually(t, func() error {
			response, err := http.Get("http://" + rest + "/healthz")
			if err != nil {
				return err
			}
			return response.Body.Close()
		})
		for path, want := range map[string]int{"/readyz": 503, "/v1/users/me": 503} {
			request, err := http.NewRequestWithContext(callContext(t), http.MethodGet, "http://"+rest+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			if _ = response.Body.Close(); response.StatusCode != want {
				t.Errorf("%s is %s, want %d", path, response.Status, want)
			}
		}
		if log := wrong.processes[0].Output(); !strings.Contains(log, "the service credential was refused") ||
			strings.Contains(log, strings.Repeat("x", 32)) {
			t.Errorf("the log does not tell why, or holds the token:\n%s", log)
		}
	})
}
