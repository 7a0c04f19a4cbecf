package cache_test

import (
	"errors"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

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
}

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
