package testkit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// holderDir is the variable that makes this test binary one that only runs a Redis, in the folder that it names, to be
// killed.
const holderDir = "GATEHOUSE_TESTKIT_HOLDER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderDir); dir != "" {
		fmt.Fprintln(os.Stderr, hold(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func hold(dir string) error {
	server, err := testkit.NewRedis(dir)
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		return fmt.Errorf("hold a Redis: %w", err)
	}
	fmt.Fprintf(os.Stdout, "holding %s now\n", server.Addr())
	code, err := server.Wait(time.Minute)
	return fmt.Errorf("the Redis ended before this process was killed: %d, %w", code, err)
}

// TestProcessParentKilled checks that no child outlives a test binary that is killed.
func TestProcessParentKilled(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := &testkit.Process{Path: program, Env: []string{holderDir + "=" + dir}, Log: filepath.Join(dir, "run.log")}
	if err := run.Start(run.Wrote(" now\n")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Kill)
	var address string
	if _, err := fmt.Sscanf(run.Output(), "holding %s now", &address); err != nil {
		t.Fatalf("%v: %s", err, run.Output())
	}
	if err := testkit.Listening(address)(); err != nil {
		t.Fatalf("before the kill: %v", err)
	}
	run.Kill()
	testkit.Eventually(t, func() error {
		if testkit.Listening(address)() == nil {
			return fmt.Errorf("the server on %s has outlived the run", address)
		}
		return nil
	})
}
