package testkit

import (
	"testing"
	"time"
)

// Eventually waits until condition gives no error, and fails the test if it still does after a minute.
func Eventually(tb testing.TB, condition func() error) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("still after %v: %v", startTimeout, err)
		}
		time.Sleep(pollInterval)
	}
}
