package testkit_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// waits runs until it is asked to end.
const waits = `trap 'exit 5' TERM; echo "$WORD"; while :; do sleep 0.01; done`

func shell(t *testing.T, script string) *testkit.Process {
	t.Helper()
	p := &testkit.Process{Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(p.Kill)
	return p
}

// TestProcessEndsEarly checks that Start reports a process that ends before it is ready.
func TestProcessEndsEarly(t *testing.T) {
	p := shell(t, "echo the reason >&2; exit 3")
	err := p.Start(p.Wrote("never"))
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("Start = %v", err)
	}
}

// TestProcessRestart checks that a process can be stopped and started again.
func TestProcessRestart(t *testing.T) {
	p := shell(t, waits)
	for _, word := range []string{"first", "second"} {
		p.Env = []string{"WORD=" + word}
		if err := p.Start(p.Wrote(word)); err != nil {
			t.Fatal(err)
		}
		if p.Ended() {
			t.Fatal("a running process has ended")
		}
		if err := p.Start(p.Wrote(word)); err == nil {
			t.Fatal("a running process can be started")
		}
		if code, err := p.Stop(); err != nil || code != 5 {
			t.Fatalf("Stop = %d, %v", code, err)
		}
		if !p.Ended() {
			t.Fatal("a stopped process has not ended")
		}
	}
	if got := p.Output(); got != "first\nsecond\n" {
		t.Errorf("Output = %q", got)
	}
	if p.Wrote("second")() != nil || p.Wrote("first")() == nil {
		t.Error("Wrote is not about the last start")
	}
}

// TestProcessFrozen checks that a frozen process can be stopped.
func TestProcessFrozen(t *testing.T) {
	p := shell(t, waits)
	p.Env = []string{"WORD=ready"}
	if err := p.Start(p.Wrote("ready")); err != nil {
		t.Fatal(err)
	}
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Stop(); err != nil || code != 5 {
		t.Fatalf("Stop = %d, %v", code, err)
	}
}

// TestProcessWaitTimeout checks that Wait kills a process that does not end in time.
func TestProcessWaitTimeout(t *testing.T) {
	p := shell(t, waits)
	p.Env = []string{"WORD=ready"}
	if err := p.Start(p.Wrote("ready")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(time.Millisecond); err == nil {
		t.Error("no error")
	}
	if !p.Ended() {
		t.Error("it was not killed")
	}
}

// TestProcessMissing checks the methods of a process that cannot be started.
func TestProcessMissing(t *testing.T) {
	p := shell(t, "")
	p.Path = filepath.Join(t.TempDir(), "missing")
	if err := p.Start(func() error { return nil }); err == nil {
		t.Fatal("no error")
	}
	if p.Freeze() == nil {
		t.Error("a process that was not started freezes")
	}
	if _, err := p.Stop(); err == nil {
		t.Error("a process that was not started stops")
	}
	p.Kill()
}
