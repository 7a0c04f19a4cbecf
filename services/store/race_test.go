//go:build race

package store

// lossyOwners is how many owners TestNoLostAnswerLogsAnybodyOut has: under the race detector, which makes each refresh
// ten times as slow, enough to find races. Without it there are a thousand.
const lossyOwners = 30
