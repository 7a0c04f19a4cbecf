package cache

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/follower"
)

// registerMetrics registers the metrics of a cache service, unless the registerer is nil.
func registerMetrics(into prometheus.Registerer, feed *follower.Follower, entries *coherence.Entries) error {
	if into == nil {
		return nil
	}
	return errors.Join(
		into.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_cache_feed_lag_seconds",
			Help: "Age of the newest state of the store that the cache is known to reflect; +Inf before the first.",
		}, feed.Lag)),
		into.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_cache_owed_entries",
			Help: "Invalidations that could not be written to Redis yet and are retried.",
		}, func() float64 { return float64(entries.PendingInvalidations()) })),
	)
}
