//go:build !race

package store

// lossyOwners is how many owners TestNoLostAnswerLogsAnybodyOut has.
const lossyOwners = 1000
