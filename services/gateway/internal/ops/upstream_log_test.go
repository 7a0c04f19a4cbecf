package ops

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/upstream"
)

// TestReadinessLog checks that a gateway logs a warning once in a row of failed probes, and none while it starts or
// drains.
func TestReadinessLog(t *testing.T) {
	const startGrace = 10 * time.Second
	failing := map[string]error{"gatehouse.cache": errors.New("connection refused")}
	serving := map[string]error{"gatehouse.cache": nil}
	for name, test := range map[string]struct {
		age      time.Duration
		draining bool
		rounds   []map[string]error
		warnings int
	}{
		"no_warning_while_the_gateway_starts":           {0, false, []map[string]error{failing, failing}, 0},
		"no_warning_while_the_gateway_drains":           {time.Hour, true, []map[string]error{serving, failing}, 0},
		"one_warning_in_a_row":                          {time.Hour, false, []map[string]error{failing, failing, failing}, 1},
		"another_warning_after_the_upstream_has_served": {time.Hour, false, []map[string]error{failing, serving, failing}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var text bytes.Buffer
				log := upstream.NewLog(slog.New(slog.NewTextHandler(&text, nil)))
				time.Sleep(test.age)
				log.SetDraining(test.draining)
				readiness := newReadiness(nil, log)
				for _, round := range test.rounds {
					readiness.publish(round)
				}
				if got := strings.Count(text.String(), "level=WARN"); got != test.warnings {
					t.Errorf("%d warnings, want %d:\n%s", got, test.warnings, text.String())
				}
				if !strings.Contains(text.String(), "connection refused") {
					t.Errorf("the log does not hold the cause: %s", text.String())
				}
			})
		})
	}
	t.Run("a_warning_after_the_start_for_an_upstream_that_never_served", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var text bytes.Buffer
			readiness := newReadiness(nil, upstream.NewLog(slog.New(slog.NewTextHandler(&text, nil))))
			readiness.publish(failing)
			time.Sleep(startGrace)
			readiness.publish(failing)
			readiness.publish(failing)
			if strings.Count(text.String(), "level=INFO") != 1 || strings.Count(text.String(), "level=WARN") != 1 {
				t.Errorf("the log is %s", text.String())
			}
		})
	})
}
