package storage

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// asStranger runs a function that opens files as somebody does who is not their owner, and not root. What it calls must
// open them in the goroutine of the caller.
func asStranger(t *testing.T, run func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		run() // The owner is bound by the mode of a file, too.
		return
	}
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setfsuid(0) }()
	run()
}
