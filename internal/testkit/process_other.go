//go:build !linux

package testkit

import (
	"errors"
	"math"
	"syscall"
)

// ownGroup prevents Ctrl-C from reaching the child before the test has.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitFrozen does not wait: here a child may still answer for a moment after SIGSTOP.
func awaitFrozen(int) error { return nil }

// LimitFiles is not possible here.
func (p *Process) LimitFiles(uint64) error { return errors.ErrUnsupported }

// NoLimit is for LimitFiles.
const NoLimit = math.MaxUint64
