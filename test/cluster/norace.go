//go:build !race

package cluster

// RaceDetector reports whether the tests run with the race detector.
const RaceDetector = false
