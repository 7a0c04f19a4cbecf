// Package cluster runs Gatehouse for tests as operators do: real processes, with a real MariaDB and a real Redis.
package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/gofrs/flock"

	_ "github.com/gatehouse-auth/gatehouse/services/cache" // A change to what the binary is made of, which is built by a
	_ "github.com/gatehouse-auth/gatehouse/services/gateway"
	_ "github.com/gatehouse-auth/gatehouse/services/store" // command, invalidates the cached results of the tests.
)

// Root returns the folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0) //nolint:dogsled // the other results are of no use here
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Build builds gatehouse, once per process, and returns the path of the program. With race, the program reports data
// races in its log.
func Build(race bool) (path string, err error) {
	if race {
		return buildRace()
	}
	return buildPlain()
}

var (
	buildPlain = sync.OnceValues(func() (string, error) { return build("gatehouse") })
	buildRace  = sync.OnceValues(func() (string, error) { return build("gatehouse-race", "-race") })
)

// build builds gatehouse with these flags into the folder of built programs, which all packages of tests share. Go
// replaces a program in one step, and only if it has changed.
func build(name string, flags ...string) (path string, err error) {
	dir := filepath.Join(Root(), "build", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(dir, name+".lock"))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("lock the build: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	path = filepath.Join(dir, name)
	args := append([]string{"build", "-o", path}, flags...)
	command := exec.CommandContext(context.Background(), "go", append(args, "./cmd/gatehouse")...)
	command.Dir = Root() // The versions of its modules are those of its own go.mod.
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build gatehouse: %w\n%s", err, output)
	}
	return path, nil
}
