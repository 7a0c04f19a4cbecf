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

// moody answers what it is told to, and counts.
type moody struct {
	gatehousev1.UnimplementedUserServiceServer

	calls  atomic.Int64
	answer func(call int64) error
}

func (m *moody) ReadUser(context.Context, *gatehousev1.ReadUserRequest) (*gatehousev1.ReadUserResponse, error) {
	return &gatehousev1.ReadUserResponse{}, m.answer(m.calls.Add(1))
}

func (m *moody) CreateUser(context.Context, *gatehousev1.CreateUserRequest) (*gatehousev1.CreateUserResponse, error) {
	return &gatehousev1.CreateUserResponse{}, m.answer(m.calls.Add(1))
}

// serve serves until the test ends, and gives the address and what stops it before.
func (m *moody) serve(t *testing.T) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	gatehousev1.RegisterUserServiceServer(server, m)
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

func dialMoody(t *testing.T, addresses ...string) gatehousev1.UserServiceClient {
	t.Helper()
	conn, err := grpcx.DialAddresses(addresses, authn.ServiceCredential{}, grpcx.Persist(grpcx.Reads())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return gatehousev1.NewUserServiceClient(conn)
}

func unavailable(int64) error {
	return apierr.Status(apierr.Unavailable(errors.New("the database is away"))).Err()
}

func TestAReadThatFailsIsRepeated(t *testing.T) {
	t.Parallel()
	m := &moody{answer: func(call int64) error {
		if call < 3 {
			return unavailable(call)
		}
		return nil
	}}
	address, _ := m.serve(t)
	if _, err := dialMoody(t, address).ReadUser(t.Context(), &gatehousev1.ReadUserRequest{}); err != nil || m.calls.Load() != 3 {
		t.Errorf("after %d calls: %v", m.calls.Load(), err)
	}
}

func TestAChangeThatFailsIsNotRepeated(t *testing.T) {
	t.Parallel()
	m := &moody{answer: unavailable}
	address, _ := m.serve(t)
	_, err := dialMoody(t, address).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
	if status.Code(err) != codes.Unavailable || m.calls.Load() != 1 {
		t.Errorf("after %d calls: %v", m.calls.Load(), err)
	}
}

// TestASignUpWithARequestIDIsRepeated: by its key, the store knows it again.
func TestASignUpWithARequestIDIsRepeated(t *testing.T) {
	t.Parallel()
	m := &moody{answer: func(call int64) error {
		if call < 3 {
			return unavailable(call)
		}
		return nil
	}}
	address, _ := m.serve(t)
	_, err := dialMoody(t, address).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{RequestId: "1"})
	if err != nil || m.calls.Load() != 3 {
		t.Errorf("after %d calls: %v", m.calls.Load(), err)
	}
}

// TestWhatIsRefusedIsNotRepeated, though it could be.
func TestWhatIsRefusedIsNotRepeated(t *testing.T) {
	t.Parallel()
	m := &moody{answer: func(int64) error {
		return apierr.Status(apierr.Overloaded(time.Second)).Err()
	}}
	address, _ := m.serve(t)
	client := dialMoody(t, address)
	_, write := client.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{RequestId: "1"})
	_, read := client.ReadUser(t.Context(), &gatehousev1.ReadUserRequest{})
	const want = codes.ResourceExhausted
	if status.Code(write) != want || status.Code(read) != want || m.calls.Load() != 2 {
		t.Errorf("after %d calls: %v, %v", m.calls.Load(), write, read)
	}
}

// TestRepeatsHaveABudget: where everything fails, hardly anything is repeated; and where it succeeds, what fails again.
func TestRepeatsHaveABudget(t *testing.T) {
	t.Parallel()
	const calls = 200
	for name, call := range map[string]func(context.Context, gatehousev1.UserServiceClient) error{
		"reads": func(ctx context.Context, client gatehousev1.UserServiceClient) error {
			_, err := client.ReadUser(ctx, &gatehousev1.ReadUserRequest{})
			return err
		},
		"sign-ups": func(ctx context.Context, client gatehousev1.UserServiceClient) error {
			_, err := client.CreateUser(ctx, &gatehousev1.CreateUserRequest{RequestId: "1"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var away atomic.Bool
			m := &moody{answer: func(call int64) error {
				if away.Load() {
					return unavailable(call)
				}
				return nil
			}}
			address, _ := m.serve(t)
			client := dialMoody(t, address)
			for range 2 {
				m.calls.Store(0)
				away.Store(true)
				for range calls {
					if err := call(t.Context(), client); status.Code(err) != codes.Unavailable {
						t.Fatal(err)
					}
				}
				if repeats := m.calls.Load() - calls; repeats < 1 || repeats > calls/10 {
					t.Errorf("of %d calls that failed %d were repeats", calls, repeats)
				}
				away.Store(false)
				for range calls {
					if err := call(t.Context(), client); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestWhatCouldNotBeSentWaitsForTheService, a change too: it was not made.
func TestWhatCouldNotBeSentWaitsForTheService(t *testing.T) {
	t.Parallel()
	m := &moody{answer: func(int64) error { return nil }}
	address, _ := m.serve(t)
	var dials atomic.Int64
	dialer := grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			return nil, errors.New("it is being restarted")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	})
	conn, err := grpcx.DialAddresses([]string{address}, authn.ServiceCredential{}, append(grpcx.Persist(grpcx.Reads()), dialer)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_, err = gatehousev1.NewUserServiceClient(conn).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
	if err != nil || m.calls.Load() != 1 {
		t.Errorf("after %d calls: %v", m.calls.Load(), err)
	}
}

// TestAllAddressesAreUsed, and one that is lost is not missed.
func TestAllAddressesAreUsed(t *testing.T) {
	t.Parallel()
	fine := func(int64) error { return nil }
	one, other := &moody{answer: fine}, &moody{answer: fine}
	first, stop := one.serve(t)
	second, _ := other.serve(t)
	client := dialMoody(t, first, second)
	for one.calls.Load() == 0 || other.calls.Load() == 0 {
		if _, err := client.ReadUser(t.Context(), &gatehousev1.ReadUserRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for range 50 {
		if _, err := client.ReadUser(t.Context(), &gatehousev1.ReadUserRequest{}); err != nil {
			t.Fatal(err)
		}
	}
}
