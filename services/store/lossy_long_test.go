//go:build long

package store

const lossyOwners = 1000 // as in lossy_test.go
