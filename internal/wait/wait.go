// Package wait pauses between two attempts.
package wait

import (
	"context"
	"time"
)

// For waits, and reports whether the context has not ended.
func For(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
