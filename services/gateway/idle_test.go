package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/rest"
)

// pipeListener is a listener in this process whose connections are pipes, which work in a bubble of synctest.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	dials int
}

func (l *pipeListener) dial() (net.Conn, error) {
	l.dials++
	client, server := net.Pipe()
	l.conns <- server
	return client, nil
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return stubAddr{} }

// newPipedService returns a gateway with reflection, and a listener of pipes for one of its servers.
func newPipedService(t *testing.T) (*Service, *pipeListener) {
	t.Helper()
	service, err := New(t.Context(), Config{Issuer: issuer, Audience: audience, Reflection: true},
		Upstreams{Cache: stubConn{}, Store: stubConn{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return service, &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// TestIdleTimeout checks that a connection that a balancer keeps for 620 s without using it is served, and is closed
// later.
func TestIdleTimeout(t *testing.T) {
	const balancer = 620 * time.Second
	// uses makes calls with pauses, and wants a new connection only for the last one.
	uses := func(t *testing.T, listener *pipeListener, call func() error) {
		t.Helper()
		for i, pause := range []time.Duration{0, balancer, 30 * time.Second, balancer, 2 * rest.IdleTimeout} {
			time.Sleep(pause) // of the bubble's clock
			synctest.Wait()
			if err := call(); err != nil {
				t.Errorf("call %d, after %v: %v", i, pause, err)
			}
			want := 1
			if pause > rest.IdleTimeout {
				want = 2
			}
			if listener.dials != want {
				t.Errorf("call %d, after %v: %d connections, want %d", i, pause, listener.dials, want)
			}
		}
	}
	for name, set := range map[string]func(*http.Protocols, bool){
		"HTTP 1.1": (*http.Protocols).SetHTTP1, "HTTP 2": (*http.Protocols).SetUnencryptedHTTP2,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service, listener := newPipedService(t)
				go func() { _ = service.rest.HTTP.Serve(listener) }()
				var protocols http.Protocols
				set(&protocols, true)
				transport := &http.Transport{Protocols: &protocols, DialContext: func(
					context.Context, string, string,
				) (net.Conn, error) {
					return listener.dial()
				}}
				client := &http.Client{Transport: transport}
				uses(t, listener, func() error {
					response, err := client.Get("http://gateway/healthz")
					if err != nil {
						return err
					}
					if response.StatusCode != http.StatusOK {
						err = errors.New(response.Status)
					}
					_, readErr := io.Copy(io.Discard, response.Body)
					return errors.Join(err, readErr, response.Body.Close())
				})
				transport.CloseIdleConnections()
				_ = service.rest.HTTP.Close()
			})
		})
	}

	t.Run("gRPC", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service, listener := newPipedService(t)
			go func() { _ = service.grpc.GRPC.Serve(listener) }()
			conn, err := grpc.NewClient("passthrough:///gateway", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return listener.dial() }))
			if err != nil {
				t.Fatal(err)
			}
			uses(t, listener, func() error {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
				if err == nil {
					_, err = exchange(stream, listsServices())
				}
				return err
			})
			_ = conn.Close()
			service.grpc.GRPC.Stop()
		})
	})
}
