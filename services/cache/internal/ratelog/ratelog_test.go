package ratelog_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/ratelog"
)

func TestWarn(t *testing.T) {
	t.Run("writes_one_line_a_minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var logged strings.Builder
			l := ratelog.New(slog.New(slog.NewTextHandler(&logged, nil)), "it failed")
			for range 100 {
				l.Warn(t.Context(), errors.New("boom"))
				time.Sleep(time.Second)
			}
			if lines := strings.Count(logged.String(), "\n"); lines != 2 {
				t.Errorf("100 warnings in 100 s made %d lines, want 2:\n%s", lines, &logged)
			}
			if !strings.Contains(logged.String(), "untold_before=59") {
				t.Errorf("the number of suppressed warnings is missing:\n%s", &logged)
			}
		})
	})
}
