//go:build long

package e2e

import "github.com/gatehouse-auth/gatehouse/test/cluster"

// What these are is said beside the values without the tag long.
const (
	importedUsers    = 10_000
	refusedEvery     = 1000
	logInAll         = !cluster.RaceDetector // It makes a hash take long.
	revocationRounds = 2
	kills            = 5
)
