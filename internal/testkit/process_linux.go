package testkit

import "syscall"

// ownGroup keeps Ctrl-C from reaching the child before the test has, and ends the child if the test binary is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
