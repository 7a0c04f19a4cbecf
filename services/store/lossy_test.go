//go:build !long

package store

// lossyOwners is how many owners TestNoLostAnswerLogsAnybodyOut has. With the tag long there are a thousand.
const lossyOwners = 5
