package password

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// hashingShare is the part of what a process may use that hashes may hold together: a quarter. Until the garbage
// collector frees what earlier hashes held, a process takes up to twice that, and it needs some 100 MiB for itself.
// With a third, a process was killed in a cgroup of 256 MiB; with a quarter it took 219 MiB there, and 416 of 512 MiB.
const hashingShare = 4

// MemoryLimit returns how much memory this process may use, in bytes: the least of the limits of its cgroup (v1 or v2),
// the machine's memory and GOMEMLIMIT. Where none is known, there is no limit.
func MemoryLimit() int64 {
	limit := debug.SetMemoryLimit(-1) // Which only reads it. Without GOMEMLIMIT it is math.MaxInt64.
	for _, source := range []memlimit.Provider{memlimit.FromCgroup, memlimit.FromSystem} {
		if found, err := source(); err == nil && found > 0 && found < math.MaxInt64 {
			limit = min(limit, int64(found))
		}
	}
	return limit
}

// MaxHashMemory returns how much memory one hash may take in a process that may use limit bytes. All hashes that are
// computed at a time take no more together.
func MaxHashMemory(limit int64) int64 { return limit / hashingShare }

// ValidateMemory reports an error if a process that may use limit bytes cannot hash with these parameters on so many
// cores; 0 stands for GOMAXPROCS.
func (p Params) ValidateMemory(cores int, limit int64) error {
	if cores == 0 {
		cores = runtime.GOMAXPROCS(0)
	}
	all := p.bytes() * int64(cores)
	if all <= limit && p.bytes() <= MaxHashMemory(limit) {
		return nil
	}
	return fmt.Errorf("argon2 memory is %d KiB, which is %d MiB on %d cores, but this process may use %d MiB, and %d MiB "+
		"for a hash: lower the argon2 memory or GOMAXPROCS, or allow the process more memory",
		p.MemoryKiB, all>>20, cores, limit>>20, MaxHashMemory(limit)>>20)
}

// bytes returns how much memory a hash takes.
func (p Params) bytes() int64 { return int64(p.MemoryKiB) << 10 }
