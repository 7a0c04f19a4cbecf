//go:build !long

package e2e

const (
	// importedUsers is how many users are imported. Five batches leave time for kills between them.
	importedUsers = 1500

	// refusedEvery is after how many users the lines stand that are refused.
	refusedEvery = 500

	// logInAll logs all imported users in, rather than some of each kind of hash.
	logInAll = false
)
