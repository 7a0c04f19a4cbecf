//go:build !long

package e2e

// How much the tests do that could do any amount.
const (
	// importedUsers is how many users are imported. Several batches leave time for kills between them.
	importedUsers = 1500

	// refusedEvery is after how many users the lines stand that are refused.
	refusedEvery = 500

	// logInAll logs all imported users in, rather than some of each kind of hash.
	logInAll = false

	// revocationRounds is how often sessions are ended in each way, with each fault, each time at another replica.
	revocationRounds = 1

	// kills is how often the store is killed while its audit events are compared with its answers.
	kills = 3
)
