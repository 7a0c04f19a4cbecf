package cache_test

import (
	"errors"
	"log/slog"
	"testing"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// wantHealth waits until the service has this health.
func (r *replica) wantHealth(t *testing.T, want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	testkit.Eventually(t, func() error {
		response, err := healthpb.NewHealthClient(r.conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil && response.GetStatus() != want {
			err = errors.New("the health is " + response.GetStatus().String())
		}
		return err
	})
}

// TestHealth/audience_that_differs_from_the_store's is of a cache service that would refuse every call with a token.
func TestHealth(t *testing.T) {
	t.Parallel()
	t.Run("audience_that_differs_from_the_store's", func(t *testing.T) {
		t.Parallel()
		cfg := cache.Config{
			Backend: cache.BackendMemory, ServiceToken: serviceToken, Issuer: issuer, Audience: audience,
		}
		env := newTestEnv(t, cfg)
		env.wantHealth(t, healthpb.HealthCheckResponse_SERVING)
		token := env.store.token(env.store.put("ada@example.com"))
		cfg.Audience = "other"
		odd := env.addReplica(t, cfg, func() {})
		odd.wantHealth(t, healthpb.HealthCheckResponse_NOT_SERVING)
		// The other cache service is served meanwhile.
		if _, err := env.users.ReadUser(as(t.Context(), token), &gatehousev1.ReadUserRequest{Id: "me"}); err != nil {
			t.Error(err)
		}
		env.wantHealth(t, healthpb.HealthCheckResponse_SERVING)
	})
	// Health says whether the service answers, which it does without a Redis.
	t.Run("serves_without_Redis", func(t *testing.T) {
		t.Parallel()
		env := startTestEnv(t, 1, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
			return cache.New(config("redis://127.0.0.1:1"), store, log)
		})
		for _, service := range []string{
			gatehousev1.UserService_ServiceDesc.ServiceName, gatehousev1.SessionService_ServiceDesc.ServiceName, "",
		} {
			response, err := healthpb.NewHealthClient(env.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
			if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health of %q: %v, error %v", service, response, err)
			}
		}
		env.read(t, env.store.put("ada@example.com"))
	})
}
