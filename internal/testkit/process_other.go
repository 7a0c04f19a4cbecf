//go:build !linux

package testkit

import "syscall"

// ownGroup keeps Ctrl-C from reaching the child before the test has.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitFrozen does not wait: here a child may still answer for a moment after SIGSTOP.
func awaitFrozen(int) error { return nil }
