package testkit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Redis is a Redis server that keeps nothing on disk by itself: killed or stopped, it starts again empty, on the same
// port. After a test's SAVE, it starts with what was saved.
type Redis struct {
	Process

	port ownPort
}

// NewRedis makes a server whose files are in dir. It is not started.
func NewRedis(dir string) (*Redis, error) {
	program, err := FindProgram("redis-server")
	if err != nil {
		return nil, err
	}
	port, err := newOwnPort()
	if err != nil {
		return nil, err
	}
	return &Redis{port: port, Process: Process{
		Path: program,
		Args: []string{
			"--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no", "--protected-mode", "yes",
		},
		Log: filepath.Join(dir, "log"),
	}}, nil
}

// StartRedis runs a new, empty server until the test ends.
func StartRedis(tb testing.TB) *Redis {
	tb.Helper()
	server, err := NewRedis(shortDir(tb))
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Kill)
	return server
}

// Start starts the server and waits until it answers.
func (r *Redis) Start() error {
	return r.port.use(func(port int) error {
		return r.start([]string{"--port", strconv.Itoa(port)}, r.answers)
	})
}

// Addr is HOST:PORT. The port is final once the server has started.
func (r *Redis) Addr() string { return loopback(r.port.number) }

// URL is how Gatehouse's settings name the server.
func (r *Redis) URL() string { return "redis://" + r.Addr() + "/0" }

// Client connects to the server, for a test that looks behind Gatehouse's back. It tries everything once, and a
// context's deadline ends it. The test closes it.
func (r *Redis) Client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: r.Addr(), MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout, ContextTimeoutEnabled: true,
	})
}

// answers reports why the server does not answer yet. A server of another test, which was faster to take the port, is
// not this one.
func (r *Redis) answers() error {
	if err := Listening(r.Addr())(); err != nil {
		return err // The client would log it, each time.
	}
	client := r.Client()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	info, err := client.Info(ctx, "server").Result()
	if err == nil && !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", r.cmd.Process.Pid)) {
		err = errors.New("the port is of another server")
	}
	return errors.Join(err, client.Close())
}
