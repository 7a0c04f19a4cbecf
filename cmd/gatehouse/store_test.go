package main

import (
	"runtime"
	"testing"
)

func TestReserveCores(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	cores, undo := reserveCores()
	if places := runtime.GOMAXPROCS(0); cores != before || places <= cores {
		t.Errorf("%d of %d places are for hashes; there were %d", cores, places, before)
	}
	undo()
	if after := runtime.GOMAXPROCS(0); after != before {
		t.Errorf("there are %d places, not %d as before", after, before)
	}
}
