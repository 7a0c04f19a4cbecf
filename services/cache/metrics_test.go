package cache

import (
	"errors"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
)

// TestMetricsTellWhatIsMissing: how long ago the cache was as the store, by the clock here and by what the store says,
// and what Redis is owed.
func TestMetricsTellWhatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, kept := newDisconnected(t, slog.New(slog.DiscardHandler))
		f := NewFollower(nil, e, slog.New(slog.DiscardHandler))
		registry := prometheus.NewRegistry()
		if err := registerMetrics(registry, f, e.pending); err != nil {
			t.Fatal(err)
		}
		wantMetric(t, registry, "gatehouse_cache_feed_lag_seconds", math.Inf(1))
		wantMetric(t, registry, "gatehouse_cache_owed_entries", 0)

		e.Change(t.Context(), e.AcquireLease(), ada(2), nil)
		wantMetric(t, registry, "gatehouse_cache_owed_entries", 1)

		kept.disconnected.Store(false)
		told := &internalv1.WatchChangesResponse{Epoch: epoch, Cursor: 7, LagMilliseconds: 1500}
		if err := f.apply(t.Context(), told); !errors.Is(err, errEpochChanged) {
			t.Fatalf("the first answer: %v", err)
		}
		if err := f.apply(t.Context(), told); err != nil {
			t.Fatal(err)
		}
		wantMetric(t, registry, "gatehouse_cache_feed_lag_seconds", 1.5)
		time.Sleep(2 * time.Second) // of the bubble's clock
		wantMetric(t, registry, "gatehouse_cache_feed_lag_seconds", 3.5)
		if err := f.Ready(t.Context()); err != nil {
			t.Errorf("with a lag of 3.5 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		if f.Ready(t.Context()) == nil {
			t.Error("it is ready with a lag of 5.5 s")
		}
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
	t.Errorf("there is no %s", name)
}
