package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
)

// TestRunStackedStopsInOrder checks that each service runs until the last call to it has ended.
func TestRunStackedStopsInOrder(t *testing.T) {
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

func TestRunStackedFailure(t *testing.T) {
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

func TestRunStacked(t *testing.T) {
	t.Run("returns_the_errors_of_all_services", func(t *testing.T) {
		lost, unclosed := errors.New("lost its listener"), errors.New("could not close its database")
		err := runStacked(t.Context(), func(context.Context) error { return lost }, func(ctx context.Context) error {
			<-ctx.Done()
			return unclosed
		})
		if !errors.Is(err, lost) || !errors.Is(err, unclosed) {
			t.Errorf("runStacked = %v", err)
		}
	})
}

func TestWelcome(t *testing.T) {
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

func TestListenDefaults(t *testing.T) {
	t.Run("are_loopback_addresses", func(t *testing.T) {
		parser, err := newParser(&commands{}, &errorCollector{}, &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		for _, leaf := range parser.Model.Leaves(false) {
			for _, flag := range leaf.Flags {
				if flag.Name != "listen" && flag.Name != "http" && flag.Name != "grpc" {
					continue
				}
				checked++
				host, _, err := net.SplitHostPort(flag.Default)
				if err != nil || host != "localhost" {
					t.Errorf("%s --%s is %q by default", leaf.Name, flag.Name, flag.Default)
				}
			}
		}
		if checked != 6 {
			t.Errorf("%d addresses were checked, not 6", checked)
		}
	})
}

func TestWarnOfClearText(t *testing.T) {
	for given, open := range map[string]bool{
		"127.0.0.1:8080": false, "[::1]:8080": false, "127.8.8.8:1": false, "0.0.0.0:8080": true, "[::]:8080": true,
		"192.0.2.7:8080": true,
	} {
		t.Run(given, func(t *testing.T) {
			address, err := net.ResolveTCPAddr("tcp", given)
			if err != nil {
				t.Fatal(err)
			}
			var log, stdout bytes.Buffer
			warnOfClearText(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), address, address)
			banner := logging.NewWriter(&stdout)
			welcome(banner, address, address, "data")
			banner.Close()
			if warnings := strings.Count(log.String(), "without TLS"); (warnings == 1) != open || warnings > 1 {
				t.Errorf("the log is %q", log.String())
			}
			if printed := strings.Contains(stdout.String(), "--http :8080"); printed == open {
				t.Errorf("the welcome is %q", stdout.String())
			}
		})
	}
}
