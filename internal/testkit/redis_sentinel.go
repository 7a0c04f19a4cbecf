package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	// watchedMaster is what the Sentinels call the master.
	watchedMaster = "gatehouse"

	sentinelQuorum = 2
)

// WatchedRedis is a Redis with a replica, and three Sentinels, which make the replica the master if the master is gone
// for two seconds.
type WatchedRedis struct {
	Servers   []*Redis
	Sentinels []*Sentinel
}

// Sentinel is a server that watches others.
type Sentinel struct {
	Process

	port ownPort
}

// StartWatchedRedis runs new servers until the test ends. The first is the master.
func StartWatchedRedis(tb testing.TB) *WatchedRedis {
	tb.Helper()
	w := &WatchedRedis{}
	for range 2 {
		server, err := NewRedis(shortDir(tb))
		if err != nil {
			tb.Fatal(err)
		}
		server.Args = append(server.Args, "--repl-diskless-sync-delay", "0")
		if len(w.Servers) > 0 {
			server.Args = append(server.Args, "--replicaof", "127.0.0.1", strconv.Itoa(w.Servers[0].port.number))
		}
		if err := server.Start(); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(server.Kill)
		w.Servers = append(w.Servers, server)
	}
	for range 3 {
		sentinel, err := newSentinel(shortDir(tb), w.Servers[0])
		if err == nil {
			err = sentinel.Start()
		}
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(sentinel.Kill)
		w.Sentinels = append(w.Sentinels, sentinel)
	}
	Eventually(tb, w.Whole)
	return w
}

func newSentinel(dir string, master *Redis) (*Sentinel, error) {
	program, err := FindProgram("redis-server")
	if err != nil {
		return nil, err
	}
	port, err := newOwnPort()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "sentinel.conf") // It writes there what it learns.
	config := fmt.Sprintf("bind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %d %d\n"+
		"sentinel down-after-milliseconds %[2]s 2000\nsentinel failover-timeout %[2]s 10000\n",
		dir, watchedMaster, master.port.number, sentinelQuorum)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of a Sentinel: %w", err)
	}
	return &Sentinel{port: port, Process: Process{
		Path: program, Args: []string{file, "--sentinel"}, Log: filepath.Join(dir, "log"),
	}}, nil
}

// Start starts the Sentinel and waits until it takes connections.
func (s *Sentinel) Start() error {
	return s.port.use(func(port int) error {
		return s.start([]string{"--port", strconv.Itoa(port)}, Listening(loopback(port)))
	})
}

// URL is how Gatehouse's settings name the Redis.
func (w *WatchedRedis) URL() string {
	addresses := make([]string, 0, len(w.Sentinels))
	for _, sentinel := range w.Sentinels {
		addresses = append(addresses, loopback(sentinel.port.number))
	}
	return "redis+sentinel://" + watchedMaster + "@" + strings.Join(addresses, ",") + "/0"
}

// Whole reports what is missing until there is one master with a replica that is up to date, and the Sentinels know
// both and each other.
func (w *WatchedRedis) Whole() error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	masters, replicas := 0, 0
	for _, server := range w.Servers {
		info, err := ask(ctx, server, "INFO", "replication")
		switch {
		case err != nil:
			return err
		case strings.Contains(info, "role:master"):
			masters++
		case strings.Contains(info, "master_link_status:up"):
			replicas++
		}
	}
	if masters != 1 || replicas != 1 {
		return errors.New("the servers are not a master and a replica that is up to date")
	}
	for _, sentinel := range w.Sentinels {
		state, err := sentinel.state(ctx)
		if err != nil {
			return err
		}
		if state["num-slaves"] != "1" || state["num-other-sentinels"] != "2" || state["flags"] != "master" {
			return fmt.Errorf("a Sentinel knows %v", state)
		}
	}
	return nil
}

// Master returns the server that says that it is the master, and the other one. There must be one.
func (w *WatchedRedis) Master(tb testing.TB) (master, other *Redis) {
	tb.Helper()
	for i, server := range w.Servers {
		if !server.Ended() && isMaster(tb.Context(), server) {
			return server, w.Servers[1-i]
		}
	}
	tb.Fatal("no server is the master")
	return nil, nil
}

// Promote makes the replica the master, as an operator would, and waits until all agree.
func (w *WatchedRedis) Promote(tb testing.TB) {
	tb.Helper()
	before, _ := w.Master(tb)
	Eventually(tb, func() error { // A Sentinel may not dare yet so soon after the last time.
		return w.Sentinels[0].do(tb.Context(), "SENTINEL", "FAILOVER", watchedMaster)
	})
	Eventually(tb, func() error {
		if isMaster(tb.Context(), before) {
			return errors.New("the replica is not the master yet")
		}
		return w.Whole()
	})
}

func (s *Sentinel) state(ctx context.Context) (map[string]string, error) {
	client := (&Redis{port: s.port}).Client()
	defer func() { _ = client.Close() }() // It was used once.
	state, err := client.Do(ctx, "SENTINEL", "MASTER", watchedMaster).Result()
	if err != nil {
		return nil, fmt.Errorf("ask a Sentinel: %w", err)
	}
	fields := map[string]string{}
	for name, value := range state.(map[any]any) { //nolint:forcetypeassert // RESP3 says so, or the test kit is wrong
		fields[fmt.Sprint(name)] = fmt.Sprint(value)
	}
	return fields, nil
}

func (s *Sentinel) do(ctx context.Context, command ...any) error {
	return do(ctx, &Redis{port: s.port}, command...)
}
