package redisbackend

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// source finds the run of the Redis that keeps a key.
type source interface {
	// of gives the run of the Redis that keeps the key now, as far as is known.
	of(ctx context.Context, key string) (*run, error)
	// all gives the runs of all Redis that keep keys, or fails.
	all(ctx context.Context) ([]*run, error)
	// lost takes it that an operation about the key has failed, and tells whether it may be done in another run. It looks
	// for another master if it has to, within ctx.
	lost(ctx context.Context, key string, in *run, err error) bool
	// enter ends what is of another epoch.
	enter(epoch string)
	// close ends the connections, for good.
	close() error
}

// over tells whether an operation failed because the run is over. A Redis that refuses to write has been made a
// replica: its address leads to its master by now, or soon will. One that says MOVED keeps the key no more.
func over(err error) bool {
	return errors.Is(err, errOver) || errors.Is(err, redis.ErrClosed) ||
		redis.HasErrorPrefix(err, "READONLY") || redis.HasErrorPrefix(err, "MOVED")
}

// away tells whether an operation failed in a way that makes another Redis take over, sooner or later.
func away(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) ||
		redis.HasErrorPrefix(err, "CLUSTERDOWN") || redis.HasErrorPrefix(err, "MASTERDOWN")
}

// one is a source of one Redis at a time.
type one struct {
	open    func(epoch string) *run
	release func() error // what runs share

	mu      sync.Mutex
	current *run
	closed  bool
}

func newOne(open func(epoch string) *run, release func() error) *one {
	return &one{open: open, release: release, current: open("")}
}

func (o *one) of(context.Context, string) (*run, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current, nil
}

func (o *one) all(ctx context.Context) ([]*run, error) {
	r, err := o.of(ctx, "")
	return []*run{r}, err
}

func (o *one) lost(_ context.Context, _ string, in *run, err error) bool {
	if !over(err) {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	if o.current == in {
		o.current = o.open(in.epoch)
		_ = in.end() // Its connections lead nowhere.
	}
	return true
}

func (o *one) enter(epoch string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.current.epoch == epoch {
		return
	}
	_ = o.current.end()
	o.current = o.open(epoch)
}

func (o *one) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return errors.Join(o.current.end(), o.release())
}

const (
	// askTimeout bounds how long the servers that know who the master is are asked: all at once.
	askTimeout = 150 * time.Millisecond

	// sentinelGrace is how long other Sentinels are waited for when most have answered: one that hangs must not cost
	// every operation the whole timeout. Nodes of a cluster are asked seldom.
	sentinelGrace = 10 * time.Millisecond
)

// errNobody says that none of those who should know the master has answered.
var errNobody = errors.New("nobody tells who the master is")

// askAll asks all of them at once, and gives what it was answered in time. It fails if that is nothing. When most have
// answered, it does not wait for the others beyond the grace.
func askAll[Who, Answer any](
	ctx context.Context, whom []Who, grace time.Duration, ask func(context.Context, Who) (Answer, error),
) ([]Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	type result struct {
		answer Answer
		err    error
	}
	results := make(chan result, len(whom))
	for _, who := range whom {
		go func() {
			answer, err := ask(ctx, who)
			results <- result{answer, err}
		}()
	}
	var answers []Answer
	failures := []error{errNobody}
	var late <-chan time.Time
	for range whom {
		select {
		case r := <-results:
			if r.err != nil {
				failures = append(failures, r.err)
				continue
			}
			answers = append(answers, r.answer)
			if late == nil && len(answers) > len(whom)/2 {
				late = time.After(grace)
			}
		case <-late:
			return answers, nil
		case <-ctx.Done(): // Each of them ends by itself.
			failures = append(failures, ctx.Err())
		}
	}
	if len(answers) == 0 {
		return nil, errors.Join(failures...)
	}
	return answers, nil
}
