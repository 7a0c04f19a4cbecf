package wait_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/wait"
)

func TestFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		timeout, expected time.Duration
		alive             bool
	}{
		"waits":               {time.Hour, time.Minute, true},
		"ends_with_a_context": {time.Second, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				began := time.Now()
				alive := wait.For(ctx, time.Minute)
				if waited := time.Since(began); alive != test.alive || waited != test.expected {
					t.Errorf("waited %v and returned %v, want %v and %v", waited, alive, test.expected, test.alive)
				}
			})
		})
	}
}
