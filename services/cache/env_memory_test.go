//go:build !servers

package cache_test

import (
	"log/slog"
	"testing"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/services/cache"
)

// newEnv returns an environment of several cache services that share a backend.
func newEnv(t *testing.T, replicas int) *testEnv {
	t.Helper()
	backend := cache.NewSharedMemory(t)
	env := startTestEnv(t, replicas, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.NewWithBackend(config(""), backend, store, log)
	})
	for _, r := range env.replicas {
		r.wantFollowing(t)
	}
	return env
}
