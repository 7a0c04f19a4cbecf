package store

import (
	"context"
	"runtime/debug"
	"time"
)

// releaseInterval is how often it is looked whether passwords are hashed.
const releaseInterval = 5 * time.Second

// memoryRelease returns memory to the system once no passwords are hashed any more. Each hash takes 19 MiB, which Go
// would hold on to for minutes.
type memoryRelease struct {
	release func()

	seen, released uint64 // hashes, when it was looked last, and when memory was released last
}

// followMemory releases memory until ctx ends.
func (s *Service) followMemory(ctx context.Context) {
	memory := memoryRelease{release: debug.FreeOSMemory}
	ticker := time.NewTicker(releaseInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			memory.look(s.hasher.Computed())
		case <-ctx.Done():
			return
		}
	}
}

// look releases memory if hashes were computed since it was released last, but none since the last look.
func (m *memoryRelease) look(computed uint64) {
	if computed == m.seen && computed != m.released {
		m.release()
		m.released = computed
	}
	m.seen = computed
}
