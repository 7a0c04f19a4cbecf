package breaker_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/breaker"
)

const failures = 3

var errCall = errors.New("the call's own error")

// testEnv is a breaker and what happened to it.
type testEnv struct {
	*breaker.Breaker

	calls   int
	changes []bool
}

func newEnv(settings breaker.Settings) *testEnv {
	env := &testEnv{}
	settings.Failures, settings.OpenTimeout = failures, time.Second
	settings.OnChange = func(open bool) { env.changes = append(env.changes, open) }
	env.Breaker = breaker.New(settings)
	return env
}

func (e *testEnv) do(outcomes ...breaker.Outcome) (err error) {
	for _, outcome := range outcomes {
		err = e.Do(func() (breaker.Outcome, error) {
			e.calls++
			return outcome, errCall
		})
	}
	return err
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	const success, failure, ignored = breaker.Success, breaker.Failure, breaker.Ignored
	run := func(name string, test func(t *testing.T, env *testEnv)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, newEnv(breaker.Settings{})) })
		})
	}
	run("failures_in_a_row_open_it", func(t *testing.T, env *testEnv) {
		if err := env.do(failure, failure, failure); !errors.Is(err, errCall) || env.IsClosed() {
			t.Errorf("error is %v, closed is %v", err, env.IsClosed())
		}
		if err := env.do(success); !errors.Is(err, breaker.ErrOpen) || env.calls != failures {
			t.Errorf("error is %v after %d calls", err, env.calls)
		}
	})
	run("a_success_between_them_keeps_it_closed", func(t *testing.T, env *testEnv) {
		if _ = env.do(failure, failure, success, failure, failure); !env.IsClosed() {
			t.Error("it is open")
		}
	})
	run("ignored_calls_between_them_do_not", func(t *testing.T, env *testEnv) {
		if _ = env.do(failure, ignored, failure, ignored, failure); env.IsClosed() {
			t.Error("it is closed")
		}
	})
	run("one_call_tries_and_closes_it", func(t *testing.T, env *testEnv) {
		_ = env.do(failure, failure, failure)
		time.Sleep(time.Second + 1)
		err := env.Do(func() (breaker.Outcome, error) {
			if err := env.do(success); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("a second call at the same time: %v", err)
			}
			return success, nil
		})
		if err != nil || !env.IsClosed() || !slices.Equal(env.changes, []bool{true, false}) {
			t.Errorf("error is %v, closed is %v, changes are %v", err, env.IsClosed(), env.changes)
		}
	})
	run("one_call_tries_and_fails", func(t *testing.T, env *testEnv) {
		_ = env.do(failure, failure, failure)
		time.Sleep(time.Second + 1)
		_ = env.do(failure)
		if err := env.do(success); !errors.Is(err, breaker.ErrOpen) || !slices.Equal(env.changes, []bool{true}) {
			t.Errorf("error is %v, changes are %v", err, env.changes)
		}
	})
	run("an_ignored_call_does_not_close_it", func(t *testing.T, env *testEnv) {
		_ = env.do(failure, failure, failure)
		time.Sleep(time.Second + 1)
		if _ = env.do(ignored); env.IsClosed() {
			t.Error("it is closed")
		}
	})
	run("failures_of_another_kind_count", func(t *testing.T, env *testEnv) {
		for range failures {
			env.Fail()
		}
		if env.IsClosed() {
			t.Error("it is closed")
		}
	})
	run("a_panic_is_a_failure", func(t *testing.T, env *testEnv) {
		for range failures {
			func() {
				defer func() { _ = recover() }()
				_ = env.Do(func() (breaker.Outcome, error) { panic("on purpose") })
			}()
		}
		if env.IsClosed() {
			t.Error("it is closed")
		}
	})
}

func TestBreakerWindow(t *testing.T) {
	t.Parallel()
	settings := breaker.Settings{Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5}
	t.Run("half_of_the_calls_open_it", func(t *testing.T) {
		t.Parallel()
		env := newEnv(settings)
		for range 50 {
			_ = env.do(breaker.Success, breaker.Failure)
		}
		if env.calls != 20 {
			t.Errorf("it has opened after %d calls", env.calls)
		}
	})
	t.Run("what_is_older_does_not_count", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			env := newEnv(settings)
			for range 30 {
				_ = env.do(breaker.Success, breaker.Failure)
				time.Sleep(2 * time.Second)
			}
			if !env.IsClosed() {
				t.Error("it is open")
			}
		})
	})
}
