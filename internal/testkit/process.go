// Package testkit runs the real programs that tests need, as child processes on private folders and loopback ports: a
// MariaDB, a Redis, a Chromium, and Gatehouse itself. A program that is missing fails the test.
package testkit

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout bounds how long a program may take until it answers. Builds with the race detector on a busy machine
	// are slow; a program that has died is noticed at once.
	startTimeout = time.Minute

	// stopTimeout bounds how long a program may take to end after SIGTERM.
	stopTimeout = 30 * time.Second

	// pollInterval is how often a condition is looked at again.
	pollInterval = 10 * time.Millisecond

	// tailLength bounds how much of a program's output an error holds, in bytes.
	tailLength = 4 << 10
)

var (
	errNotStarted = errors.New("the process was not started")
	errRunning    = errors.New("the process is running already")
)

// Process is a child process whose output goes to a file. It does not outlive the test binary on Linux. Start, Stop and
// Kill may be used in turn any number of times, from one goroutine.
type Process struct {
	Path  string   // program
	Args  []string // without the program's name
	Env   []string // beside the environment of the test; "NAME=value"
	Stdin string   // file to read from; "" is nothing
	Log   string   // file that both outputs are appended to

	// Stdout and Stderr, where they are set, get an output instead of Log.
	Stdout, Stderr *os.File

	cmd      *exec.Cmd     // nil before the first start
	done     chan struct{} // closed when the process has ended
	logStart int64         // length of the log, in bytes, when the process was started
}

// Start starts the process and waits until ready gives no error; Listening and Wrote make such conditions. If the
// process ends before, or takes longer than a minute, it is gone when Start returns, and the error holds the end of its
// output.
func (p *Process) Start(ready func() error) error { return p.start(nil, ready) }

// Signal sends a signal to the process, by its own pid. The error is os.ErrProcessDone if the process has ended.
func (p *Process) Signal(signal syscall.Signal) error {
	if p.cmd == nil {
		return errNotStarted
	}
	return p.cmd.Process.Signal(signal)
}

// PID is the id of the process, which must have been started.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop sends SIGTERM to the process and returns its exit code, -1 if a signal ended it. A process that does not
// end within 30 s is killed, and that is an error. A process that had ended gives the exit code that it ended with.
func (p *Process) Stop() (exitCode int, err error) {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("stop %s: %w", p.name(), err)
	}
	_ = p.Thaw() // A frozen process gets SIGTERM only when it goes on.
	return p.Wait(stopTimeout)
}

// Wait waits until the process has ended by itself and gives its exit code, -1 if a signal ended it. After the time it
// is killed, and that is an error.
func (p *Process) Wait(timeout time.Duration) (exitCode int, err error) {
	if p.cmd == nil {
		return 0, fmt.Errorf("wait for %s: %w", p.name(), errNotStarted)
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		p.Kill()
		return 0, fmt.Errorf("%s did not end within %v:\n%s", p.name(), timeout, p.Tail())
	}
}

// Kill ends the process with SIGKILL and waits until it is gone. It does nothing to a process that has ended or was not
// started.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // It has ended already, then.
	<-p.done
}

// Ended reports whether the process, once started, has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Freeze stops the process from running, as a machine that hangs would: its connections stay open, and nothing answers.
// Thaw lets it go on. On Linux nothing of it runs any more when Freeze returns.
func (p *Process) Freeze() error {
	err := p.Signal(syscall.SIGSTOP)
	if err == nil {
		err = awaitFrozen(p.cmd.Process.Pid)
	}
	if err != nil {
		return fmt.Errorf("freeze %s: %w", p.name(), err)
	}
	return nil
}

// Thaw undoes Freeze.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// Output returns all that the process has written, in all its starts.
func (p *Process) Output() string {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// Tail returns the end of what the process has written, in bytes 4 Ki at the most.
func (p *Process) Tail() string {
	output := p.Output()
	if len(output) > tailLength {
		output = "…" + output[len(output)-tailLength:]
	}
	return output
}

// Wrote is the condition that the process has written the text since it was started last.
func (p *Process) Wrote(text string) func() error {
	return func() error {
		output := p.Output()
		if start := min(int(p.logStart), len(output)); strings.Contains(output[start:], text) {
			return nil
		}
		return fmt.Errorf("%s has not written %q", p.name(), text)
	}
}

// start is Start with more arguments, for this time only.
func (p *Process) start(more []string, ready func() error) error {
	if p.cmd != nil && !p.Ended() {
		return fmt.Errorf("start %s: %w", p.name(), errRunning)
	}
	if err := p.launch(more); err != nil {
		return fmt.Errorf("start %s: %w", p.name(), err)
	}
	if err := p.await(ready); err != nil {
		p.Kill()
		return err
	}
	return nil
}

func (p *Process) launch(more []string) error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { _ = log.Close() }() // The child has its own.
	info, err := log.Stat()
	if err != nil {
		return fmt.Errorf("measure the log: %w", err)
	}
	cmd := exec.Command(p.Path, slices.Concat(p.Args, more)...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = cmp.Or(p.Stdout, log), cmp.Or(p.Stderr, log)
	if p.Stdin != "" {
		input, err := os.Open(p.Stdin)
		if err != nil {
			return fmt.Errorf("open what to read: %w", err)
		}
		defer func() { _ = input.Close() }() // The child has its own.
		cmd.Stdin = input
	}
	cmd.SysProcAttr = ownGroup()
	done := make(chan struct{})
	if err := startOnThread(cmd, done); err != nil {
		return err
	}
	p.cmd, p.done, p.logStart = cmd, done, info.Size()
	return nil
}

func (p *Process) await(ready func() error) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready (%v):\n%s", p.name(), p.cmd.ProcessState, p.Tail())
		case <-time.After(pollInterval):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %w\n%s", p.name(), startTimeout, err, p.Tail())
		}
	}
}

func (p *Process) name() string { return filepath.Base(p.Path) }

// startOnThread starts the command on a thread that lives as long as the child: the kernel sends the parent-death
// signal when the thread that started a child ends, not when the process does. The result is of the start; done is
// closed when the child has ended.
func startOnThread(cmd *exec.Cmd, done chan<- struct{}) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // How it ended is in cmd.ProcessState.
			close(done)
		}
	}()
	return <-started
}
