//go:build servers && long

package cache_test

// consistencyRounds is how often each user of TestConsistency makes a change.
const consistencyRounds = 100
