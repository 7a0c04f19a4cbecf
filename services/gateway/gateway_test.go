package gateway

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
)

// brokenListener fails, once it is time.
type brokenListener struct {
	net.Listener

	when <-chan struct{} // nil for at once
	err  error
}

func (l brokenListener) Accept() (net.Conn, error) {
	if l.when != nil {
		<-l.when
	}
	return nil, l.err
}

// unclosedListener reports an error when it is closed.
type unclosedListener struct {
	net.Listener

	accepts func()
	err     error
}

func (l unclosedListener) Accept() (net.Conn, error) {
	l.accepts()
	return l.Listener.Accept()
}

func (l unclosedListener) Close() error { return errors.Join(l.Listener.Close(), l.err) }

func TestRun(t *testing.T) {
	newService := func(t *testing.T) *Service {
		t.Helper()
		conn := newUpstream(t).serve(t)
		service, err := New(t.Context(), Config{Issuer: issuer, Audience: audience},
			Upstreams{Cache: conn, Store: conn}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return service
	}
	errLost := errors.New("the listener is lost")
	t.Run("returns_the_errors_of_both_servers", func(t *testing.T) {
		accepting := make(chan struct{})
		http := unclosedListener{listen(t), sync.OnceFunc(func() { close(accepting) }), errTest}
		native := brokenListener{listen(t), accepting, errLost}
		if err := newService(t).Run(t.Context(), http, native); !errors.Is(err, errTest) || !errors.Is(err, errLost) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Run("stops_the_other_server", func(t *testing.T) {
		for _, isHTTP := range []bool{false, true} {
			var lost net.Listener = brokenListener{listen(t), nil, errLost}
			other := listen(t)
			http, native := other, lost
			if isHTTP {
				http, native = lost, other
			}
			if err := newService(t).Run(t.Context(), http, native); !errors.Is(err, errLost) {
				t.Errorf("Run = %v", err)
			}
			if conn, err := net.Dial("tcp", other.Addr().String()); err == nil {
				_ = conn.Close()
				t.Error("the other server listens")
			}
		}
	})
}
