//go:build unix

package netlimit

import (
	"math"
	"syscall"
)

// maxFiles returns how many files this process may have open. The Go runtime has raised the soft limit to the hard one.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt
	}
	return int(min(uint64(limit.Cur), math.MaxInt)) //nolint:unconvert // Some systems have an int64.
}
