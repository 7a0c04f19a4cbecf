package grpcx

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

const (
	failures     = deadlines.StoreFailures
	openTimeout  = deadlines.StoreOpen
	unresponsive = deadlines.StoreUnresponsive
)

// fakeService responds to calls, or hangs.
type fakeService struct {
	interceptor *breakerInterceptor

	mu    sync.Mutex
	hangs bool
	calls int
	err   error
}

func newFakeService(hangs bool) *fakeService {
	return &fakeService{interceptor: newBreakerInterceptor(), hangs: hangs}
}

func (s *fakeService) set(change func(*fakeService)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *fakeService) invoke(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
	s.mu.Lock()
	s.calls++
	hangs, err := s.hangs, s.err
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return err
}

// call makes one call with a timeout, through the breaker.
func (s *fakeService) call(t *testing.T, timeout time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return s.interceptor.call(ctx, "/a.Service/Method", nil, nil, nil, s.invoke)
}

func TestBreakerInterceptor(t *testing.T) {
	t.Parallel()
	run := func(name string, hangs bool, test func(t *testing.T, s *fakeService)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, newFakeService(hangs)) })
		})
	}
	run("a_service_that_hangs_is_left_alone_until_it_answers", true, func(t *testing.T, s *fakeService) {
		for range failures {
			if err := s.call(t, 2*unresponsive); status.Code(err) != codes.DeadlineExceeded {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := s.call(t, 2*unresponsive); status.Code(err) != codes.Unavailable || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if s.calls != failures {
			t.Errorf("it was called %d times", s.calls)
		}
		s.set(func(s *fakeService) { s.hangs = false })
		time.Sleep(openTimeout + 1) // of the bubble's clock
		for range 2 {
			if err := s.call(t, unresponsive); err != nil {
				t.Errorf("it answers again: %v", err)
			}
		}
	})
	run("opens_in_spite_of_calls_that_are_given_up_early", true, func(t *testing.T, s *fakeService) {
		for range failures {
			_ = s.call(t, 2*unresponsive)
			_ = s.call(t, unresponsive/2)
		}
		if err := s.call(t, 2*unresponsive); status.Code(err) != codes.Unavailable {
			t.Errorf("a call of a service that hangs: %v", err)
		}
	})
	run("is_not_closed_by_a_call_that_is_given_up_early", true, func(t *testing.T, s *fakeService) {
		for range failures {
			_ = s.call(t, 2*unresponsive)
		}
		time.Sleep(openTimeout + 1) // of the bubble's clock
		if err := s.call(t, unresponsive/2); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the call that tries the service: %v", err)
		}
		if s.interceptor.breaker.IsClosed() {
			t.Error("it is closed")
		}
	})
	run("stays_closed/a_queue_is_given_up_while_others_are_answered", true, func(t *testing.T, s *fakeService) {
		var queue sync.WaitGroup
		for range 5 * failures {
			queue.Go(func() { _ = s.call(t, 2*unresponsive) })
		}
		synctest.Wait() // All are in the queue.
		s.set(func(s *fakeService) { s.hangs = false })
		if err := s.call(t, unresponsive); err != nil {
			t.Error(err)
		}
		queue.Wait()
		if err := s.call(t, unresponsive); err != nil {
			t.Errorf("after the queue was given up: %v", err)
		}
	})
	for name, call := range map[string]func(t *testing.T, s *fakeService) error{
		"the_service_returns_unavailable": func(t *testing.T, s *fakeService) error {
			s.err = apierr.Status(apierr.Unavailable(errors.New("the database is down"))).Err()
			return s.call(t, 2*unresponsive)
		},
		"a_replica_is_lost_with_all_its_calls": func(t *testing.T, s *fakeService) error {
			s.err = status.Error(codes.Canceled, "error reading from server: EOF")
			return s.call(t, 2*unresponsive)
		},
		"callers_give_up_at_once": func(t *testing.T, s *fakeService) error {
			s.hangs = true
			return s.call(t, unresponsive/2)
		},
		"one_replica_answers": func(t *testing.T, s *fakeService) error {
			s.set(func(s *fakeService) { s.hangs = s.calls%failures > 0 })
			return s.call(t, 2*unresponsive)
		},
	} {
		run("stays_closed/"+name, false, func(t *testing.T, s *fakeService) {
			for range 5 * failures {
				_ = call(t, s)
			}
			if s.calls != 5*failures {
				t.Errorf("of %d calls %d were made", 5*failures, s.calls)
			}
		})
	}
}
