package gateway

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestUpstreamLog(t *testing.T) {
	silent := map[string]error{"gatehouse.cache": errors.New("connection refused")}
	serving := map[string]error{"gatehouse.cache": nil}
	for name, test := range map[string]struct {
		age      time.Duration
		draining bool
		rounds   []map[string]error
		warnings int
	}{
		"while_the_gateway_starts_it_does_not_warn":                 {0, false, []map[string]error{silent, silent}, 0},
		"while_the_gateway_stops_it_does_not_warn":                  {time.Hour, true, []map[string]error{serving, silent}, 0},
		"once_in_a_row_it_warns":                                    {time.Hour, false, []map[string]error{silent, silent, silent}, 1},
		"after_the_upstream_has_served_again_it_warns_another_time": {time.Hour, false, []map[string]error{silent, serving, silent}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			log := newUpstreamLog(slog.New(slog.NewTextHandler(&text, nil)))
			log.started = time.Now().Add(-test.age)
			log.draining.Store(test.draining)
			readiness := newReadiness(nil, log)
			for _, round := range test.rounds {
				readiness.publish(round)
			}
			if got := strings.Count(text.String(), "level=WARN"); got != test.warnings {
				t.Errorf("%d warnings, want %d:\n%s", got, test.warnings, text.String())
			}
			if !strings.Contains(text.String(), "connection refused") {
				t.Errorf("the log does not say why: %s", text.String())
			}
		})
	}
	t.Run("it_warns_of_an_upstream_that_never_starts_when_the_time_for_that_is_over", func(t *testing.T) {
		var text bytes.Buffer
		log := newUpstreamLog(slog.New(slog.NewTextHandler(&text, nil)))
		readiness := newReadiness(nil, log)
		readiness.publish(silent)
		log.started = time.Now().Add(-startGrace)
		readiness.publish(silent)
		readiness.publish(silent)
		if strings.Count(text.String(), "level=INFO") != 1 || strings.Count(text.String(), "level=WARN") != 1 {
			t.Errorf("the log is %s", text.String())
		}
	})
}
