package main

import "runtime"

// leaveRoom makes the Go scheduler run twice as many goroutines at a time as there are cores, until undo, and gives how
// many cores there are: as many passwords may be hashed at a time. A hash does not yield for milliseconds; if hashes
// had all the places of the scheduler, every call that needs a fraction of one would wait for as long. With room, the
// system's scheduler decides between them, and prefers who has used little.
func leaveRoom() (cores int, undo func()) {
	cores = runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	return cores, func() { runtime.GOMAXPROCS(cores) }
}
