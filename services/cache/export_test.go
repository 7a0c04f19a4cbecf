package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/floors"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
)

// NewCounting is New with a memory backend that counts how often it is asked for entries.
func NewCounting(
	cfg Config, store grpc.ClientConnInterface, log *slog.Logger, gets *atomic.Int64,
) (*Service, error) {
	return newService(cfg, countingBackend{backend: memorybackend.New(memoryBytes, nil), gets: gets}, floors.New(floors.MaxKeys), store, log)
}

// NewDead is New with a backend that fails whatever is asked of it about users, and counts how often that is.
func NewDead(cfg Config, store grpc.ClientConnInterface, log *slog.Logger, asked *atomic.Int64) (*Service, error) {
	return newService(cfg, deadBackend{asked: asked}, floors.New(floors.MaxKeys), store, log)
}

type deadBackend struct{ asked *atomic.Int64 }

func (d deadBackend) Get(_ context.Context, keys ...string) ([][]byte, entry.Lease, error) {
	if keys[0] == feedCursor {
		return make([][]byte, 1), "", nil
	}
	return nil, "", d.fail()
}
func (d deadBackend) Lease() entry.Lease                                     { return "" }
func (d deadBackend) Set(context.Context, entry.Lease, ...entry.Write) error { return d.fail() }
func (d deadBackend) Remove(context.Context, string, []byte) error           { return d.fail() }
func (d deadBackend) Enter(string)                                           {}
func (d deadBackend) Flush(context.Context) error                            { return nil }
func (d deadBackend) Close() error                                           { return nil }

func (d deadBackend) fail() error {
	d.asked.Add(1)
	return errors.New("it is dead")
}

type countingBackend struct {
	backend

	gets *atomic.Int64
}

func (c countingBackend) Get(ctx context.Context, keys ...string) ([][]byte, entry.Lease, error) {
	defer c.gets.Add(1)
	return c.backend.Get(ctx, keys...)
}
