//go:build !linux

package storage

import "testing"

// asStranger runs a function in tests, which are not run by root here.
func asStranger(_ *testing.T, run func()) { run() }
