package e2e

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

func wantRefused(t *testing.T, err error) {
	t.Helper()
	st := status.Convert(err)
	if reason := apierr.ReasonName(apierr.ReasonOf(st)); st.Code() != codes.Unauthenticated || reason != "SERVICE_CREDENTIAL_INVALID" {
		t.Errorf("error is %v, want UNAUTHENTICATED with SERVICE_CREDENTIAL_INVALID", err)
	}
}

// TestServicePorts checks that cache and store serve only callers with a service credential.
func TestServicePorts(t *testing.T) {
	t.Parallel()
	env := startThree(t, cheapHashes...)
	store, cache := env.processes[0], env.processes[1]
	signUp(t, env, "ada@example.com")
	token := logIn(t, env, "ada@example.com")
	for _, service := range []*cluster.Service{store, cache} {
		t.Run(service.Command()+" refuses a stranger with an access token", func(t *testing.T) {
			conn := service.Dial(t)
			ctx := metadata.AppendToOutgoingContext(callContext(t), "authorization", "Bearer "+token,
				"x-gatehouse-client-address", "203.0.113.7", "x-gatehouse-service", "gateway", "x-request-id", "forged-id")
			users := gatehousev1.NewUserServiceClient(conn)
			_, err := users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"})
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
			if service == store {
				wantRefused(t, err)
			} else if status.Code(err) != codes.Unimplemented {
				t.Errorf("a feed of a cache: %v", err)
			}
			if _, err := readMe(t, env, token); err != nil {
				t.Errorf("a client of the gateway meanwhile: %v", err)
			}
		})
	}
	for _, process := range env.processes {
		if output := process.Output(); strings.Contains(output, "203.0.113.7") || strings.Contains(output, "forged-id") {
			t.Errorf("%s accepts an unauthenticated caller:\n%s", process.Args[0], process.Tail())
		}
	}
	t.Run("a_gateway_with_the_second_token_is_served", func(t *testing.T) {
		next := strings.Repeat("n", 32)
		accepted, infra := "GATEHOUSE_SECOND_SERVICE_TOKEN="+next, env.infra
		store := cluster.StartService(t, binary, "store", append(infra.StoreEnv(infra.DatabaseURL()), accepted), cheapHashes...)
		cache := cluster.StartService(t, binary, "cache", append(infra.CacheEnv(infra.Redis.URL()), accepted),
			"--store-address", store.Address)
		gateway := cluster.StartService(t, binary, "gateway", []string{"GATEHOUSE_SERVICE_TOKEN=" + next},
			"--cache-address", cache.Address, "--store-address", store.Address, "--drain-delay", "0s")
		cluster.AwaitReady(t, gateway, store, cache)
		second := &testEnv{conn: gateway.Dial(t)}
		if _, err := readMe(t, second, token); err != nil {
			t.Error(err)
		}
	})
	t.Run("a_gateway_with_another_token_is_not_ready_and_tells_no_client_to_log_in_again", func(t *testing.T) {
		gateway := cluster.StartService(t, binary, "gateway", []string{"GATEHOUSE_SERVICE_TOKEN=" + strings.Repeat("x", 32)},
			"--cache-address", cache.Address, "--store-address", store.Address, "--drain-delay", "0s")
		testkit.Eventually(t, func() error {
			response, err := http.Get(gateway.REST + "/healthz")
			if err != nil {
				return err
			}
			return response.Body.Close()
		})
		for path, want := range map[string]int{"/readyz": 503, "/v1/users/me": 503} {
			request, err := http.NewRequestWithContext(callContext(t), http.MethodGet, gateway.REST+path, http.NoBody)
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
		if log := gateway.Output(); !strings.Contains(log, "service credential rejected") ||
			strings.Contains(log, strings.Repeat("x", 32)) {
			t.Errorf("the log does not tell why, or holds the token:\n%s", log)
		}
	})
}
