package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
	"github.com/gatehouse-auth/gatehouse/internal/netlimit"
)

// metricsTimeout bounds a request for metrics, in both directions.
const metricsTimeout = 10 * time.Second

// maxMetricsConnections bounds the connections for metrics, and metricsShare those of one address. A scraper has one.
const (
	maxMetricsConnections = 64
	metricsShare          = 16
)

// metricsSettings configure where metrics are served.
type metricsSettings struct {
	Metrics string `help:"Address to serve metrics on, at /metrics in the format of Prometheus. None are served if it is left out."`
}

func (s *metricsSettings) resolve(problems *errorCollector) {
	if s.Metrics != "" {
		problems.add(checkListen("--metrics", s.Metrics))
	}
}

// newMetrics returns a registry with metrics of the Go runtime, of the process and of its log.
func newMetrics(stderr *logging.Writer) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_log_records_dropped_total",
			Help: "Log records that were dropped because stderr was not read, or could not be written.",
		}, func() float64 { return float64(stderr.Dropped()) }))
	return registry
}

// serveMetrics serves until ctx is done. It closes the listener.
func serveMetrics(ctx context.Context, registry *prometheus.Registry, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	server := &http.Server{Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout}
	closed := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer closed()
	limits := netlimit.Limits{Total: maxMetricsConnections, PerClient: metricsShare}
	limited := netlimit.New(listener, limits, slog.New(slog.DiscardHandler))
	if err := server.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", listener.Addr(), err)
	}
	return nil
}
