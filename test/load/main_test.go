// Package load measures what the real binary bears: log-ins beyond what can be hashed, and clients that hold on to what
// they get. The benchmarks take minutes and fail by what they measure; the tests only see to it that they work.
package load

import (
	"fmt"
	"os"
	"testing"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// binary is the gatehouse that is measured. It has no race detector, even if the tests have it.
var binary string

func TestMain(m *testing.M) {
	var err error
	if binary, err = cluster.Build(false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
