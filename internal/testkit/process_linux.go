package testkit

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup prevents Ctrl-C from reaching the child before the test has, and ends the child if the test binary is
// killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitFrozen waits until all threads of a child that was sent SIGSTOP have stopped: one that runs on another processor
// may still answer a request after the signal was sent. That the child ends is left for others to wait for.
func awaitFrozen(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// LimitFiles prevents the process from writing any file beyond so many bytes, as a full disk would. NoLimit takes that
// back.
func (p *Process) LimitFiles(bytes uint64) error {
	if p.cmd == nil {
		return errNotStarted
	}
	limit := unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		return fmt.Errorf("limit the files of %s: %w", p.name(), err)
	}
	return nil
}

// NoLimit is for LimitFiles.
const NoLimit = unix.RLIM_INFINITY
