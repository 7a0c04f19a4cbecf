// Package clients runs clients of other languages against a real Gatehouse. The clients are scripts for Node.js in
// this folder, and what they need is in package-lock.json.
package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// binary is the gatehouse that all tests of this package run.
var binary string

func TestMain(m *testing.M) {
	err := checkNodeModules()
	if err == nil {
		binary, err = cluster.Build(false)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// checkNodeModules reports an error if node_modules is not what package-lock.json says.
func checkNodeModules() error {
	const install = "make test/clients/node_modules/.package-lock.json"
	locked, err := os.Stat("package-lock.json")
	if err != nil {
		return err
	}
	installed, err := os.Stat("node_modules/.package-lock.json") // npm writes it last.
	if err != nil || installed.ModTime().Before(locked.ModTime()) {
		return fmt.Errorf("node_modules is missing or older than package-lock.json: run `%s` in the root of the repository", install)
	}
	return nil
}

// gatehouse is a running `gatehouse up`.
type gatehouse struct {
	url  string // base URL of REST
	grpc string // host:port of native gRPC
}

// startUp runs `gatehouse up` with these flags on a new data folder until the test ends.
func startUp(t *testing.T, flags ...string) gatehouse {
	t.Helper()
	up := cluster.NewService(t, binary, "up", nil, append([]string{
		"--data", filepath.Join(t.TempDir(), "data"),
		"--argon2-memory", "7168", "--argon2-iterations", "1", // as cheap as they may be
	}, flags...)...)
	up.Args = append(up.Args, "--issuer", up.REST)
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	cluster.AwaitReady(t, up)
	return gatehouse{url: up.REST, grpc: up.Address}
}

// env returns the variables by which clients find g.
func (g gatehouse) env() []string {
	return []string{"GATEHOUSE_URL=" + g.url, "GATEHOUSE_GRPC=" + g.grpc}
}

// runNode runs a script of this folder that finds g in the environment, and returns its standard output. The test fails
// if the script does.
func (g gatehouse) runNode(t *testing.T, script string, args ...string) string {
	t.Helper()
	return runIn(t, ".", g.env(), "node", append([]string{script}, args...)...)
}
