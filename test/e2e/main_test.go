// Package e2e tests Gatehouse from outside: the real binary, as one process on embedded parts and as three processes
// with a real MariaDB and a real Redis, over gRPC, REST and Swagger UI.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// binary is the gatehouse that all tests of this package run, with the race detector if the tests have it.
var binary string

func TestMain(m *testing.M) {
	var err error
	if binary, err = cluster.Build(cluster.RaceDetector); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
