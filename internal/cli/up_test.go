package cli

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
)

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
}
