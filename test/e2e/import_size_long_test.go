//go:build long

package e2e

import "github.com/gatehouse-auth/gatehouse/test/cluster"

const (
	importedUsers = 10_000
	refusedEvery  = 1000
	logInAll      = !cluster.RaceDetector // It makes a hash take long.
)
