package cache

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/follower"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// readOnlyBackend rejects writes under all keys but the cursor.
type readOnlyBackend struct{ coherence.Backend }

func (b readOnlyBackend) Set(ctx context.Context, lease entry.Lease, writes ...entry.Write) error {
	if writes[0].Key != "cursor:{feed}" {
		return errors.New("read-only")
	}
	return b.Backend.Set(ctx, lease, writes...)
}

// laggingFeed is the connection to a store whose feed has one message in each stream, with a lag.
type laggingFeed struct{ grpc.ClientConnInterface }

func (laggingFeed) NewStream(
	ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return &laggingStream{ctx: ctx}, nil
}

type laggingStream struct {
	grpc.ClientStream

	ctx  context.Context //nolint:containedctx // of the stream
	sent bool
}

func (*laggingStream) SendMsg(any) error { return nil }
func (*laggingStream) CloseSend() error  { return nil }

func (s *laggingStream) RecvMsg(message any) error {
	if s.sent {
		<-s.ctx.Done()
		return s.ctx.Err()
	}
	s.sent = true
	response := message.(*internalv1.WatchChangesResponse)
	response.Epoch, response.Cursor, response.LagMilliseconds = epoch, 7, 1500
	return nil
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := memorybackend.New(memoryBytes, nil)
		defer memory.Close()
		log := slog.New(slog.DiscardHandler)
		entries := coherence.New(readOnlyBackend{memory}, minrank.New(minrank.MaxKeys), time.Hour, log)
		feed := follower.New(laggingFeed{}, entries, log)
		registry := prometheus.NewRegistry()
		if err := registerMetrics(registry, feed, entries); err != nil {
			t.Fatal(err)
		}
		wantMetric(t, registry, "gatehouse_cache_feed_lag_seconds", math.Inf(1))
		wantMetric(t, registry, "gatehouse_cache_owed_entries", 0)

		entries.Change(t.Context(), entries.AcquireLease(), ada(2), nil)
		wantMetric(t, registry, "gatehouse_cache_owed_entries", 1)

		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { feed.Run(ctx) })
		synctest.Wait()
		wantMetric(t, registry, "gatehouse_cache_feed_lag_seconds", 1.5)
		time.Sleep(2 * time.Second) // of the bubble's clock
		wantMetric(t, registry, "gatehouse_cache_feed_lag_seconds", 3.5)
		if err := feed.Ready(t.Context()); err != nil {
			t.Errorf("with a lag of 3.5 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		if feed.Ready(t.Context()) == nil {
			t.Error("it is ready with a lag of 5.5 s")
		}
		stop()
		running.Wait()
	})
}

func wantMetric(t *testing.T, registry *prometheus.Registry, name string, want float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		if got := family.GetMetric()[0].GetGauge().GetValue(); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
		return
	}
	t.Errorf("metric %s is missing", name)
}
