package cache

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// NewCounting is New with a memory backend that counts how often it is asked for entries.
func NewCounting(
	cfg Config, store grpc.ClientConnInterface, log *slog.Logger, gets *atomic.Int64,
) (*Service, error) {
	return newService(cfg, countingBackend{Backend: memorybackend.New(memoryBytes, nil), gets: gets}, minrank.New(minrank.MaxKeys), store, log)
}

// NewWithBackend is New with a backend that several services may share.
func NewWithBackend(
	cfg Config, backend coherence.Backend, store grpc.ClientConnInterface, log *slog.Logger,
) (*Service, error) {
	return newService(cfg, sharedBackend{backend}, minrank.New(minrank.MaxKeys), store, log)
}

// NewSharedMemory returns a memory backend that is closed when the test ends.
func NewSharedMemory(t *testing.T) coherence.Backend {
	t.Helper()
	memory := memorybackend.New(memoryBytes, nil)
	t.Cleanup(func() { _ = memory.Close() })
	return memory
}

// sharedBackend is not closed by its services.
type sharedBackend struct{ coherence.Backend }

func (sharedBackend) Close() error { return nil }

// NewFailing is New with a backend that fails whatever is asked of it about users, and counts how often that is.
func NewFailing(cfg Config, store grpc.ClientConnInterface, log *slog.Logger, asked *atomic.Int64) (*Service, error) {
	return newService(cfg, failingUserBackend{asked: asked}, minrank.New(minrank.MaxKeys), store, log)
}

type failingUserBackend struct{ asked *atomic.Int64 }

func (d failingUserBackend) Get(_ context.Context, keys ...string) ([][]byte, entry.Lease, error) {
	if strings.HasPrefix(keys[0], "cursor:") {
		return make([][]byte, 1), "", nil
	}
	return nil, "", d.fail()
}
func (d failingUserBackend) Lease() entry.Lease                                     { return "" }
func (d failingUserBackend) Set(context.Context, entry.Lease, ...entry.Write) error { return d.fail() }

func (d failingUserBackend) Remove(context.Context, string, []byte) error { return d.fail() }
func (d failingUserBackend) EnterEpoch(string)                            {}
func (d failingUserBackend) Flush(context.Context) error                  { return nil }
func (d failingUserBackend) Close() error                                 { return nil }

func (d failingUserBackend) fail() error {
	d.asked.Add(1)
	return errors.New("it is dead")
}

type countingBackend struct {
	coherence.Backend

	gets *atomic.Int64
}

func (c countingBackend) Get(ctx context.Context, keys ...string) ([][]byte, entry.Lease, error) {
	defer c.gets.Add(1)
	return c.Backend.Get(ctx, keys...)
}
