//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// isOursOrRoots reports whether the user of this process or root owns the file. Root can do as it likes anyway.
func isOursOrRoots(info fs.FileInfo) bool { return isOwner(0, info) || isOwner(os.Geteuid(), info) }

func isOwner(user int, info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == user
}
