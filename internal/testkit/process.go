// Package testkit runs the real programs that tests need, as child processes on private folders and loopback ports: a
// MariaDB, a Redis, a Chromium, and Gatehouse itself. A program that is missing fails the test.
package testkit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// Process is a child process whose output goes to a file. It does not outlive the test binary on Linux. Start, Stop and
// Kill may be used in turn any number of times, from one goroutine.
type Process struct {
	Path string   // program
	Args []string // without the program's name
	Env  []string // beside the environment of the test; "NAME=value"
	Log  string   // file that both outputs are appended to

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Start starts the process and waits until ready gives no error. If the process ends before, or takes longer than a
// minute, the error holds the end of its output.
func (p *Process) Start(ready func() error) error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", filepath.Base(p.Path), err)
	}
	p.cmd = exec.Command(p.Path, p.Args...)
	p.cmd.Env = append(os.Environ(), p.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = ownGroup()
	p.done = make(chan struct{})
	err = startOn(p.cmd, p.done)
	_ = log.Close() // The child has its own.
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Path, err)
	}
	if err := p.await(ready); err != nil {
		p.Kill()
		return err
	}
	return nil
}

// startOn starts the command on a thread that lives as long as the child: the kernel sends the parent-death signal when
// the thread that started a child ends, not when the process does. The result is of the start; done is closed when the
// child has ended.
func startOn(cmd *exec.Cmd, done chan<- struct{}) error {
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

func (p *Process) await(ready func() error) error {
	name := filepath.Base(p.Path)
	deadline := time.Now().Add(startTimeout)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once:\n%s", name, p.Tail())
		case <-time.After(pollInterval):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %w\n%s", name, startTimeout, err, p.Tail())
		}
	}
}

// Signal sends a signal to the process, by its own pid.
func (p *Process) Signal(signal syscall.Signal) error { return p.cmd.Process.Signal(signal) }

// Stop asks the process to end with SIGTERM and gives its exit code. A process that does not end within 30 s is killed,
// and that is an error.
func (p *Process) Stop() (exitCode int, err error) {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("stop %s: %w", filepath.Base(p.Path), err)
	}
	return p.Wait(stopTimeout)
}

// Wait waits until the process has ended by itself and gives its exit code. After the time it is killed, and that is an
// error.
func (p *Process) Wait(timeout time.Duration) (exitCode int, err error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		p.Kill()
		return 0, fmt.Errorf("%s did not end within %v:\n%s", filepath.Base(p.Path), timeout, p.Tail())
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // It has ended already, then.
	<-p.done
}

// Ended tells whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Freeze stops the process from running, as a machine that hangs would. Thaw lets it go on.
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// Output gives all that the process has written.
func (p *Process) Output() string {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// Tail gives the end of what the process has written.
func (p *Process) Tail() string {
	output := p.Output()
	if len(output) > tailLength {
		output = "…" + output[len(output)-tailLength:]
	}
	return output
}

// eventually waits until condition gives no error, for a minute at the most.
func eventually(condition func() error) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollInterval)
	}
}

// FreePort finds a port on 127.0.0.1 that nobody listens on now.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener has no other address
	return port, listener.Close()
}

// find finds a program in PATH or in the folders where servers are, which are not in everybody's PATH.
func find(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, folder := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"} {
			if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed: run tools/install-test-deps.sh", strings.Join(names, " or "))
}

// run runs a program to its end; its output is in the error.
func run(path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = ownGroup()
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = io.Writer(&output), io.Writer(&output)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), err, output.String())
	}
	return nil
}
