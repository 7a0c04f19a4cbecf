package grpcx

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// dependency answers calls, or does not.
type dependency struct {
	mu    sync.Mutex
	hangs bool
	calls int
	err   error
}

func (d *dependency) set(change func(*dependency)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *dependency) invoke(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
	d.mu.Lock()
	d.calls++
	hangs, err := d.hangs, d.err
	d.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return err
}

// TestWhoGivesUpInAQueueTellsNothing: a crowd that leaves together, while others are served, does not open the circuit.
func TestWhoGivesUpInAQueueTellsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, d := newCircuit(), &dependency{hangs: true}
		var crowd sync.WaitGroup
		for range 5 * silentCalls {
			crowd.Go(func() { _ = d.try(t, c, 2*patience) })
		}
		synctest.Wait() // All are in the queue.
		d.set(func(d *dependency) { d.hangs = false })
		if err := d.try(t, c, patience); err != nil {
			t.Error(err)
		}
		crowd.Wait()
		if err := d.try(t, c, patience); err != nil {
			t.Errorf("after the crowd has left: %v", err)
		}
	})
}

// try makes one call that has so much time.
func (d *dependency) try(t *testing.T, c *circuit, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return c.call(ctx, "/a.Service/Method", nil, nil, nil, d.invoke)
}

func TestASilentServiceIsLeftAloneUntilItAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, d := newCircuit(), &dependency{hangs: true}
		for range silentCalls {
			if err := d.try(t, c, 2*patience); status.Code(err) != codes.DeadlineExceeded {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := d.try(t, c, 2*patience); status.Code(err) != codes.Unavailable || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if d.calls != silentCalls {
			t.Errorf("it was called %d times", d.calls)
		}
		d.set(func(d *dependency) { d.hangs = false })
		time.Sleep(circuitRest + 1) // of the bubble's clock
		for range 2 {
			if err := d.try(t, c, patience); err != nil {
				t.Errorf("it answers again: %v", err)
			}
		}
	})
}

// TestCircuit: calls whose callers leave early show neither that a service hangs nor that it answers.
func TestCircuit(t *testing.T) {
	t.Parallel()
	t.Run("opens in spite of calls that are given up early", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c, d := newCircuit(), &dependency{hangs: true}
			for range silentCalls {
				_ = d.try(t, c, 2*patience)
				_ = d.try(t, c, patience/2)
			}
			if err := d.try(t, c, 2*patience); status.Code(err) != codes.Unavailable {
				t.Errorf("a call of a service that hangs: %v", err)
			}
		})
	})
	t.Run("is not closed by a call that is given up early", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c, d := newCircuit(), &dependency{hangs: true}
			for range silentCalls {
				_ = d.try(t, c, 2*patience)
			}
			time.Sleep(circuitRest + 1) // of the bubble's clock
			if err := d.try(t, c, patience/2); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the call that tries the service: %v", err)
			}
			if state := c.breaker.State(); state == gobreaker.StateClosed {
				t.Error("the circuit is closed")
			}
		})
	})
}

// TestWhoSaysNoIsNotSilent, nor is one whom callers give no time, or who answers now and then.
func TestWhoSaysNoIsNotSilent(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(t *testing.T, c *circuit, d *dependency) error{
		"it says that it is not available": func(t *testing.T, c *circuit, d *dependency) error {
			d.err = apierr.Status(apierr.Unavailable(errors.New("the database is away"))).Err()
			return d.try(t, c, 2*patience)
		},
		"a replica is lost, with all its calls": func(t *testing.T, c *circuit, d *dependency) error {
			d.err = status.Error(codes.Canceled, "error reading from server: EOF")
			return d.try(t, c, 2*patience)
		},
		"its callers give up at once": func(t *testing.T, c *circuit, d *dependency) error {
			d.hangs = true
			return d.try(t, c, patience/2)
		},
		"a replica answers": func(t *testing.T, c *circuit, d *dependency) error {
			d.set(func(d *dependency) { d.hangs = d.calls%silentCalls > 0 })
			return d.try(t, c, 2*patience)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, d := newCircuit(), &dependency{}
				for range 5 * silentCalls {
					_ = use(t, c, d)
				}
				if d.calls != 5*silentCalls {
					t.Errorf("of %d calls %d were made", 5*silentCalls, d.calls)
				}
			})
		})
	}
}
