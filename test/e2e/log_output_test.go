package e2e

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// TestLogOutput: whatever becomes of the readers of stdout and stderr, calls are served, and SIGTERM ends the process.
func TestLogOutput(t *testing.T) {
	t.Parallel()
	// Each call logs three records of more than 150 bytes, so that these are more than a pipe holds.
	const calls = 600
	t.Run("readers_that_are_gone_end_nothing", func(t *testing.T) {
		t.Parallel()
		h, stdout, stderr := startUpPiped(t)
		if err := stdout.Close(); err != nil {
			t.Fatal(err)
		}
		if err := stderr.Close(); err != nil {
			t.Fatal(err)
		}
		readAgainAndAgain(t, h, calls)
		h.stop(t)
	})
	t.Run("readers_that_stall_stop_nothing", func(t *testing.T) {
		t.Parallel()
		h, _, _ := startUpPiped(t)
		readAgainAndAgain(t, h, calls)
		h.stop(t)
	})
	t.Run("nothing_is_lost_while_they_read", func(t *testing.T) {
		t.Parallel()
		h, _, stderr := startUpPiped(t)
		found := make(chan int, 1)
		go func() {
			reads := 0
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				if strings.Contains(lines.Text(), `"service":"gateway"`) && strings.Contains(lines.Text(), "UserService/ReadUser") {
					reads++
				}
			}
			found <- reads
		}()
		readAgainAndAgain(t, h, calls)
		h.stop(t)
		if reads := <-found; reads != calls {
			t.Errorf("the log has %d of %d calls", reads, calls)
		}
	})
}

// readAgainAndAgain makes calls, each of which must succeed.
func readAgainAndAgain(t *testing.T, h *house, calls int) {
	t.Helper()
	signUp(t, h, "ada@example.com")
	token := logIn(t, h, "ada@example.com")
	for range calls {
		if _, err := readMe(t, h, token); err != nil {
			t.Fatal(err)
		}
	}
}

// startUpPiped runs `gatehouse up`, which writes to the pipes whose ends are returned.
func startUpPiped(t *testing.T) (h *house, stdout, stderr *os.File) {
	t.Helper()
	stdout, out := pipe(t)
	stderr, errs := pipe(t)
	http, native := freeAddress(t), freeAddress(t)
	process := &testkit.Process{
		Path: binary,
		Args: append([]string{
			"up", "--data", t.TempDir(), "--http", http, "--grpc", native, "--log-level", "debug", "--log-format", "json",
		}, cheapHashes...),
		Log: filepath.Join(t.TempDir(), "up"), Stdout: out, Stderr: errs,
	}
	if err := process.Start(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	for _, file := range []*os.File{out, errs} { // The child has its own.
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	h = &house{processes: []*testkit.Process{process}}
	h.connect(t, http, native)
	return h, stdout, stderr
}

func pipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	return reader, writer
}
