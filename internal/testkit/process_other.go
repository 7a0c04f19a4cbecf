//go:build !linux

package testkit

import "syscall"

// ownGroup keeps Ctrl-C from reaching the child before the test has.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
