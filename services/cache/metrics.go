package cache

import (
	"errors"
	"math"

	"github.com/prometheus/client_golang/prometheus"
)

// measure registers what can be measured of a cache service, where anybody wants to know.
func registerMetrics(into prometheus.Registerer, follower *Follower, owed *pendingInvalidations) error {
	if into == nil {
		return nil
	}
	return errors.Join(
		into.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_cache_feed_lag_seconds",
			Help: "Age of the youngest state of the store of which it is known that all before it is in the cache; " +
				"+Inf before any is.",
		}, follower.Lag)),
		into.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_cache_owed_entries",
			Help: "Entries that could not be told to Redis and are told again.",
		}, owed.count)),
	)
}

// lag is how long ago nothing was missing in the backend, in seconds; infinite if that is not known of any time.
func (f *Follower) Lag() float64 {
	last := f.current.Load()
	if last == nil {
		return math.Inf(1)
	}
	return f.now().Sub(*last).Seconds()
}

// count is how many entries are owed.
func (p *pendingInvalidations) count() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(len(p.writes))
}
