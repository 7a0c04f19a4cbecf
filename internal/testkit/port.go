package testkit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"
)

const (
	// Ports are taken from below those that systems give to outgoing connections and to listeners on port 0 (Linux: from
	// 32768, macOS: from 49152). Otherwise any connection could take the port of a server that is down for a moment,
	// and a test that starts the server again would fail now and then.
	firstPort, endPort = 20000, 32768

	// portAttempts bounds how many ports are tried, one after the other.
	portAttempts = 100

	// startAttempts bounds on how many ports a server is started before its start fails.
	startAttempts = 3

	dialTimeout = time.Second
)

// reservations are the UDP sockets that mark the ports FreePort has returned. They are open until the process ends.
var reservations struct { //nolint:gochecknoglobals // ports belong to the process
	sync.Mutex
	sockets []net.PacketConn
}

// FreePort returns a TCP port on 127.0.0.1 on which nothing listens. It returns no port twice, in any process of the
// machine, while the process that called it runs: a server may be down for a while and start again on its port.
func FreePort() (int, error) {
	var taken error
	for range portAttempts {
		port := firstPort + rand.IntN(endPort-firstPort)
		if taken = reserve(port); taken == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: %w", taken)
}

// reserve reports an error if a port is in use, or reserved by this or another process. What reserves a TCP port is a
// UDP socket with the same number, since the system closes it with the process, and no server under test uses UDP.
func reserve(port int) error {
	socket, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", loopback(port))
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	if err := tryListen(port); err != nil {
		return errors.Join(err, socket.Close())
	}
	reservations.Lock()
	defer reservations.Unlock()
	reservations.sockets = append(reservations.sockets, socket)
	return nil
}

// tryListen reports an error if a server cannot listen on a port.
func tryListen(port int) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", loopback(port))
	if err != nil {
		return fmt.Errorf("try to listen: %w", err)
	}
	if err := listener.Close(); err != nil {
		return fmt.Errorf("stop listening: %w", err)
	}
	return nil
}

// Listening is the condition that something takes TCP connections at the address, HOST:PORT.
func Listening(address string) func() error {
	return func() error {
		dialer := net.Dialer{Timeout: dialTimeout}
		connection, err := dialer.DialContext(context.Background(), "tcp", address)
		if err != nil {
			return fmt.Errorf("nobody listens yet: %w", err)
		}
		_ = connection.Close() // It was made, which is the answer.
		return nil
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ownPort is the port of a server. It stays the same from the server's first start on, as clients hold on to it.
type ownPort struct {
	number int
	fixed  bool
}

func newOwnPort() (ownPort, error) {
	number, err := FreePort()
	return ownPort{number: number}, err
}

// use starts a server on the port. If somebody has taken the port since it was found free, the first start goes on with
// others.
func (p *ownPort) use(start func(port int) error) error {
	for attempt := 1; ; attempt++ {
		err := start(p.number)
		if err == nil {
			p.fixed = true
			return nil
		}
		if p.fixed || attempt == startAttempts || tryListen(p.number) == nil {
			return err
		}
		another, noPort := FreePort()
		if noPort != nil {
			return errors.Join(err, noPort)
		}
		p.number = another
	}
}
