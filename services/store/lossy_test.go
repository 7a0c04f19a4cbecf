//go:build !long

package store

// lossyOwners is how many owners TestRefreshLostResponses has. With the tag long there are a thousand.
const lossyOwners = 5
