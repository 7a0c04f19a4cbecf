package cache

import (
	"context"
	"log/slog"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
)

// NewCounting is New with a memory backend that counts how often it is asked for an entry.
func NewCounting(
	cfg Config, store grpc.ClientConnInterface, log *slog.Logger, gets *atomic.Int64,
) (*Service, error) {
	return newService(cfg, countingBackend{backend: memorybackend.New(memoryBytes, nil), gets: gets}, store, log)
}

type countingBackend struct {
	backend

	gets *atomic.Int64
}

func (c countingBackend) Get(ctx context.Context, key string) (entry []byte, found bool, err error) {
	defer c.gets.Add(1)
	return c.backend.Get(ctx, key)
}
