package e2e

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestLogOutput checks that calls are served and SIGTERM ends the process even if nobody reads stdout and stderr.
func TestLogOutput(t *testing.T) {
	t.Parallel()
	// Each call logs three records of more than 150 bytes, so that these are more than a pipe holds.
	const calls = 600
	t.Run("readers_that_are_gone_end_nothing", func(t *testing.T) {
		t.Parallel()
		env, stdout, stderr := startUpPiped(t)
		if err := stdout.Close(); err != nil {
			t.Fatal(err)
		}
		if err := stderr.Close(); err != nil {
			t.Fatal(err)
		}
		readAgainAndAgain(t, env, calls)
		env.stop(t)
	})
	t.Run("readers_that_stall_stop_nothing", func(t *testing.T) {
		t.Parallel()
		env, _, _ := startUpPiped(t)
		readAgainAndAgain(t, env, calls)
		env.stop(t)
	})
	t.Run("nothing_is_lost_while_they_read", func(t *testing.T) {
		t.Parallel()
		env, _, stderr := startUpPiped(t)
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
		readAgainAndAgain(t, env, calls)
		env.stop(t)
		if reads := <-found; reads != calls {
			t.Errorf("the log has %d of %d calls", reads, calls)
		}
	})
}

// readAgainAndAgain makes calls, each of which must succeed.
func readAgainAndAgain(t *testing.T, env *testEnv, calls int) {
	t.Helper()
	signUp(t, env, "ada@example.com")
	token := logIn(t, env, "ada@example.com")
	for range calls {
		if _, err := readMe(t, env, token); err != nil {
			t.Fatal(err)
		}
	}
}

// startUpPiped runs `gatehouse up`, which writes to the pipes whose ends are returned.
func startUpPiped(t *testing.T) (env *testEnv, stdout, stderr *os.File) {
	t.Helper()
	stdout, out := pipe(t)
	stderr, errs := pipe(t)
	up := cluster.NewService(t, binary, "up", nil, append([]string{
		"--data", t.TempDir(), "--log-level", "debug", "--log-format", "json",
	}, cheapHashes...)...)
	up.Stdout, up.Stderr = out, errs
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []*os.File{out, errs} { // The child has its own.
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cluster.AwaitReady(t, up)
	env = &testEnv{rest: up.REST, conn: up.Dial(t), processes: []*cluster.Service{up}}
	return env, stdout, stderr
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
