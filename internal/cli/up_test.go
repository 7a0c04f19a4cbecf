package cli

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
)

func TestTheMasterKeyIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	first, err := loadMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || len(first) != storeservice.MasterKeySize || bytes.Equal(first, make([]byte, len(first))) {
		t.Errorf("mode is %v, key has %d bytes", info.Mode(), len(first))
	}
	second, err := loadMasterKey(path)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second start has another key: %v", err)
	}
	another, err := loadMasterKey(filepath.Join(t.TempDir(), "master.key"))
	if err != nil || bytes.Equal(first, another) {
		t.Errorf("another folder has the same key: %v", err)
	}
}

func TestAMasterKeyThatOthersCanReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := loadMasterKey(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o660, 0o602, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if key, err := loadMasterKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") || key != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := loadMasterKey(path); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestAMasterKeyThatIsNoneIsRefusedAndLeft(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "short": hidden, "long": strings.Repeat("A", 88)} {
		path := write(t, content)
		if _, err := loadMasterKey(path); err == nil {
			t.Errorf("%s: it is taken", name)
		} else if strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: a secret is printed: %v", name, err)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != content {
			t.Errorf("%s: the file is now %q, %v", name, left, err)
		}
	}
	if _, err := loadMasterKey(filepath.Join(t.TempDir(), "no", "such", "folder", "master.key")); err == nil {
		t.Error("a key in a folder that is not there is made")
	}
}

// TestServicesStopInOrder: each is there until the last call to it has ended.
func TestServicesStopInOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var order []string
	var running sync.WaitGroup
	running.Add(3)
	service := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			running.Done()
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- runStacked(ctx, service("gateway"), service("cache"), service("store")) }()
	running.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := []string{"gateway", "cache", "store"}; !slices.Equal(order, want) {
		t.Errorf("they end as %v, want %v", order, want)
	}
}

func TestAServiceThatFailsStopsTheOthers(t *testing.T) {
	lost := errors.New("lost its listener")
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	}
	for failing := range 3 {
		services := []func(context.Context) error{wait, wait, wait}
		services[failing] = func(context.Context) error { return lost }
		if err := runStacked(t.Context(), services...); !errors.Is(err, lost) {
			t.Errorf("service %d: runStacked = %v", failing, err)
		}
	}
}

func TestTheWelcomeNamesAddressesThatCanBeDialled(t *testing.T) {
	for given, want := range map[string]string{
		"0.0.0.0:8080": "localhost:8080", "[::]:8080": "localhost:8080", "127.0.0.1:1": "127.0.0.1:1", "[::1]:1": "[::1]:1",
	} {
		address, err := net.ResolveTCPAddr("tcp", given)
		if err != nil {
			t.Fatal(err)
		}
		if got := dialable(address); got != want {
			t.Errorf("dialable(%s) = %s, want %s", given, got, want)
		}
	}
	for given, want := range map[string]string{
		"store:9092": "dns:///store:9092", "passthrough:///x": "passthrough:///x", "unix:///s": "unix:///s",
	} {
		if got := target(given); got != want {
			t.Errorf("target(%s) = %s, want %s", given, got, want)
		}
	}
}
