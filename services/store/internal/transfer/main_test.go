package transfer

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(stopServers(), goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// onEach runs a test on each kind of database, with an empty one.
func onEach(t *testing.T, test func(t *testing.T, database storage.Config)) {
	t.Helper()
	for name, newDatabase := range databases() {
		t.Run(name, func(t *testing.T) { test(t, storage.Config{URL: newDatabase(t)}) })
	}
}
