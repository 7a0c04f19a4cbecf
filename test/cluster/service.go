package cluster

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// reconnectDelay is how long a connection of Dial waits before it tries again.
const reconnectDelay = 100 * time.Millisecond

// Service is a process of gatehouse. It listens on the same addresses however often it is started.
type Service struct {
	testkit.Process

	Address string // of gRPC, HOST:PORT
	REST    string // base URL, of a gateway and of `up`
}

// NewService returns a service that runs a program with a command (store, cache, gateway or up) and listens on
// addresses of its own. It is not started. When the test ends, the service is killed, its log is shown if the test
// has failed, and the test fails if the race detector has reported something.
func NewService(tb testing.TB, program, command string, env []string, args ...string) *Service {
	tb.Helper()
	s := &Service{Address: FreeAddress(tb)}
	listen := []string{command, "--listen", s.Address}
	if command == "gateway" || command == "up" {
		rest := FreeAddress(tb)
		s.REST = "http://" + rest
		listen = []string{command, "--grpc", s.Address, "--http", rest}
	}
	s.Process = testkit.Process{
		Path: program, Args: append(listen, args...), Env: env, Log: filepath.Join(tb.TempDir(), command),
	}
	tb.Cleanup(func() {
		s.Kill()
		if _, measured := tb.(*testing.B); tb.Failed() && !measured { // What is slow is not in a log.
			tb.Logf("%s at %s:\n%s", command, s.Address, s.Tail())
		}
		if strings.Contains(s.Output(), "DATA RACE") {
			tb.Errorf("the race detector reports, in %s:\n%s", command, s.Output())
		}
	})
	return s
}

// StartService starts a new service. It does not wait until the service serves.
func StartService(tb testing.TB, program, command string, env []string, args ...string) *Service {
	tb.Helper()
	s := NewService(tb, program, command, env, args...)
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Start starts the process. It does not wait until the service serves: a store does not listen before it has found its
// database.
func (s *Service) Start() error { return s.Process.Start(func() error { return nil }) }

// RestartAs kills the process and starts it with another program and environment.
func (s *Service) RestartAs(program string, env []string) error {
	s.Kill()
	s.Path, s.Env = program, env
	return s.Start()
}

// Command returns the command of gatehouse that the process runs, such as "store".
func (s *Service) Command() string { return s.Args[0] }

// Ready reports an error unless the gateway is ready.
func (s *Service) Ready() error {
	response, err := http.Get(s.REST + "/readyz")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz is %s", response.Status)
	}
	return nil
}

// Dial returns a connection to the service, which is closed when the test ends.
func (s *Service) Dial(tb testing.TB) *grpc.ClientConn {
	tb.Helper()
	// A service that was killed is found again soon after it is back.
	reconnect := grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: reconnectDelay, Multiplier: 1, MaxDelay: reconnectDelay},
		MinConnectTimeout: time.Minute,
	}
	conn, err := grpc.NewClient(s.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(reconnect))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// FreeAddress returns an address on which nothing listens.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	port, err := testkit.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
