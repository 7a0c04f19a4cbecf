package testkit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a Redis server that keeps nothing on disk: killed or stopped, it starts again empty, on the same port.
type Redis struct {
	Process

	port int
}

// NewRedis makes a server whose files are in dir. It is not started.
func NewRedis(dir string) (*Redis, error) {
	server, err := find("redis-server")
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	return &Redis{port: port, Process: Process{
		Path: server,
		Args: []string{
			"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", dir,
			"--save", "", "--appendonly", "no", "--protected-mode", "yes",
		},
		Log: filepath.Join(dir, "log"),
	}}, nil
}

// StartRedis runs a new, empty server until the test ends.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	server, err := NewRedis(shortDir(t))
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	return server
}

// Start starts the server and waits until it answers.
func (r *Redis) Start() error {
	return r.Process.Start(func() error {
		client := r.Client()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return errors.Join(client.Ping(ctx).Err(), client.Close())
	})
}

// Addr is HOST:PORT.
func (r *Redis) Addr() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// URL is how Gatehouse's settings name the server.
func (r *Redis) URL() string { return "redis://" + r.Addr() + "/0" }

// Client connects to the server, for a test that looks behind Gatehouse's back. The test closes it.
func (r *Redis) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: r.Addr(), MaxRetries: -1, DialTimeout: time.Second})
}
