// Package e2e tests Gatehouse from outside: the real binary, as one process on embedded parts and as three processes
// with a real MariaDB and a real Redis, over gRPC, REST and Swagger UI.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the gatehouse that all tests of this package run.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gatehouse")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "gatehouse")
		if err := build(binary); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// build builds the binary, with the race detector if the tests have it.
func build(path string) error {
	args := []string{"build", "-o", path}
	if raceDetector {
		args = append(args, "-race")
	}
	output, err := exec.Command("go", append(args, "github.com/gatehouse-auth/gatehouse/cmd/gatehouse")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build gatehouse: %w\n%s", err, output)
	}
	return nil
}
