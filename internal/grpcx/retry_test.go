package grpcx_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// stubService returns what answer returns for the number of the call.
type stubService struct {
	gatehousev1.UnimplementedUserServiceServer

	calls  atomic.Int64
	answer func(call int64) error
}

func (s *stubService) ReadUser(context.Context, *gatehousev1.ReadUserRequest) (*gatehousev1.ReadUserResponse, error) {
	return &gatehousev1.ReadUserResponse{}, s.answer(s.calls.Add(1))
}

func (s *stubService) CreateUser(context.Context, *gatehousev1.CreateUserRequest) (*gatehousev1.CreateUserResponse, error) {
	return &gatehousev1.CreateUserResponse{}, s.answer(s.calls.Add(1))
}

// serve serves until the test ends. It returns the address, and a function that stops it before.
func (s *stubService) serve(t *testing.T) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	gatehousev1.RegisterUserServiceServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), server.Stop
}

func dial(t *testing.T, addresses ...string) gatehousev1.UserServiceClient {
	t.Helper()
	conn, err := grpcx.DialAddresses(addresses, authn.ServiceCredential{}, grpcx.WithRetry()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return gatehousev1.NewUserServiceClient(conn)
}

func unavailable(int64) error {
	return apierr.Status(apierr.Unavailable(errors.New("the database is down"))).Err()
}

func succeed(int64) error { return nil }

func read(ctx context.Context, client gatehousev1.UserServiceClient) error {
	_, err := client.ReadUser(ctx, &gatehousev1.ReadUserRequest{})
	return err
}

func change(ctx context.Context, client gatehousev1.UserServiceClient) error {
	_, err := client.CreateUser(ctx, &gatehousev1.CreateUserRequest{})
	return err
}

func idempotentChange(ctx context.Context, client gatehousev1.UserServiceClient) error {
	_, err := client.CreateUser(ctx, &gatehousev1.CreateUserRequest{RequestId: "1"})
	return err
}

func TestRetry(t *testing.T) {
	t.Parallel()
	unavailableTwice := func(call int64) error {
		if call < 3 {
			return unavailable(call)
		}
		return nil
	}
	overloaded := func(int64) error { return apierr.Status(apierr.Overloaded(time.Second)).Err() }
	for name, test := range map[string]struct {
		answer func(int64) error
		call   func(context.Context, gatehousev1.UserServiceClient) error
		calls  int64
		code   codes.Code
	}{
		"a_read_is_retried":                     {unavailableTwice, read, 3, codes.OK},
		"a_read_is_retried_twice_only":          {unavailable, read, 3, codes.Unavailable},
		"a_change_is_not_retried":               {unavailable, change, 1, codes.Unavailable},
		"a_change_with_a_request_id_is_retried": {unavailableTwice, idempotentChange, 3, codes.OK},
		"a_refused_read_is_not_retried":         {overloaded, read, 1, codes.ResourceExhausted},
		"a_refused_change_is_not_retried":       {overloaded, idempotentChange, 1, codes.ResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stubService{answer: test.answer}
			address, _ := s.serve(t)
			err := test.call(t.Context(), dial(t, address))
			if status.Code(err) != test.code || s.calls.Load() != test.calls {
				t.Errorf("after %d calls: %v", s.calls.Load(), err)
			}
		})
	}
	t.Run("a_change_that_could_not_be_sent_waits_for_the_service", func(t *testing.T) {
		t.Parallel()
		s := &stubService{answer: succeed}
		address, _ := s.serve(t)
		var dials atomic.Int64
		dialer := grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return nil, errors.New("it is being restarted")
			}
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		})
		conn, err := grpcx.DialAddresses([]string{address}, authn.ServiceCredential{}, append(grpcx.WithRetry(), dialer)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		err = change(t.Context(), gatehousev1.NewUserServiceClient(conn))
		if err != nil || s.calls.Load() != 1 {
			t.Errorf("after %d calls: %v", s.calls.Load(), err)
		}
	})
}

// TestRetryBudget checks that few calls are retried while all fail, and that retries are allowed again once calls
// succeed.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	const calls = 200
	for name, call := range map[string]func(context.Context, gatehousev1.UserServiceClient) error{
		"reads": read, "sign_ups": idempotentChange,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var down atomic.Bool
			s := &stubService{answer: func(call int64) error {
				if down.Load() {
					return unavailable(call)
				}
				return nil
			}}
			address, _ := s.serve(t)
			client := dial(t, address)
			for range 2 {
				s.calls.Store(0)
				down.Store(true)
				for range calls {
					if err := call(t.Context(), client); status.Code(err) != codes.Unavailable {
						t.Fatal(err)
					}
				}
				if retries := s.calls.Load() - calls; retries < 1 || retries > calls/10 {
					t.Errorf("of %d calls that failed %d were retries", calls, retries)
				}
				down.Store(false)
				for range calls {
					if err := call(t.Context(), client); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestDialAddresses checks that all addresses are used, and the loss of one fails no read.
func TestDialAddresses(t *testing.T) {
	t.Parallel()
	one, other := &stubService{answer: succeed}, &stubService{answer: succeed}
	first, stop := one.serve(t)
	second, _ := other.serve(t)
	client := dial(t, first, second)
	for one.calls.Load() == 0 || other.calls.Load() == 0 {
		if err := read(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for range 50 {
		if err := read(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
}
