package maintenance

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/wait"
)

// releaseInterval is how often ReleaseMemory checks whether passwords are being hashed.
const releaseInterval = 5 * time.Second

// memoryRelease returns memory to the system once the store has stopped hashing passwords. Each hash takes 19 MiB,
// which Go would hold for minutes.
type memoryRelease struct {
	release func()

	seen, released uint64 // hashes at the last check, and at the last release
}

// ReleaseMemory releases memory until ctx ends. computed returns how many hashes were computed.
func ReleaseMemory(ctx context.Context, computed func() uint64) {
	memory := memoryRelease{release: debug.FreeOSMemory}
	for wait.For(ctx, releaseInterval) {
		memory.check(computed())
	}
}

// check releases memory if hashes were computed since the last release, but none since the last check.
func (m *memoryRelease) check(computed uint64) {
	if computed == m.seen && computed != m.released {
		m.release()
		m.released = computed
	}
	m.seen = computed
}
