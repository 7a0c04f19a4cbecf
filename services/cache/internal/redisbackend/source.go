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

// source finds the instance of Redis that holds a key.
type source interface {
	// instanceFor returns the instance that holds the key now, as far as is known.
	instanceFor(ctx context.Context, key string) (*instance, error)
	// instances returns the instances of all masters, or an error if one is missing.
	instances(ctx context.Context) ([]*instance, error)
	// onError handles a failed operation on the key, and reports whether the operation may be retried in another
	// instance. It looks for another master if necessary, within ctx.
	onError(ctx context.Context, key string, in *instance, err error) bool
	// setEpoch closes the instances of any other epoch.
	setEpoch(epoch string)
	// close closes all connections permanently.
	close() error
}

// isInstanceGone reports whether an operation failed because its instance is gone. A Redis that refuses writes has been
// made a replica, so its address leads to the master, or soon will. One that answers MOVED does not hold the key.
func isInstanceGone(err error) bool {
	return errors.Is(err, errInstanceGone) || errors.Is(err, redis.ErrClosed) ||
		redis.HasErrorPrefix(err, "READONLY") || redis.HasErrorPrefix(err, "MOVED")
}

// isUnreachable reports whether an operation failed in a way that makes another Redis take over sooner or later.
func isUnreachable(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) ||
		redis.HasErrorPrefix(err, "CLUSTERDOWN") || redis.HasErrorPrefix(err, "MASTERDOWN")
}

// singleNode is a source of one instance at a time.
type singleNode struct {
	open    func(epoch string) *instance
	release func() error // releases what the instances share

	mu      sync.Mutex
	current *instance
	closed  bool
}

func newSingleNode(open func(epoch string) *instance, release func() error) *singleNode {
	return &singleNode{open: open, release: release, current: open("")}
}

func (n *singleNode) instanceFor(context.Context, string) (*instance, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current, nil
}

func (n *singleNode) instances(ctx context.Context) ([]*instance, error) {
	inst, err := n.instanceFor(ctx, "")
	return []*instance{inst}, err
}

func (n *singleNode) onError(_ context.Context, _ string, in *instance, err error) bool {
	if !isInstanceGone(err) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	if n.current == in {
		n.current = n.open(in.epoch)
		_ = in.close() // Its connections are broken.
	}
	return true
}

func (n *singleNode) setEpoch(epoch string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.current.epoch == epoch {
		return
	}
	_ = n.current.close()
	n.current = n.open(epoch)
}

func (n *singleNode) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	return errors.Join(n.current.close(), n.release())
}

const (
	// queryTimeout bounds a query of all servers that may know the master. They are queried concurrently.
	queryTimeout = 150 * time.Millisecond

	// sentinelGrace is how long the remaining Sentinels are waited for once most have answered: one that hangs must not
	// cost every operation the whole timeout. Nodes of a cluster are queried seldom.
	sentinelGrace = 10 * time.Millisecond
)

// errNoAnswer reports that none of the servers that should know the master has answered.
var errNoAnswer = errors.New("no server reports the master")

// queryQuorum queries all servers concurrently, and returns the answers that arrive in time. It returns an error if
// there are none. When most have answered, it waits no longer than grace for the others.
func queryQuorum[Server, Answer any](
	ctx context.Context, servers []Server, grace time.Duration, query func(context.Context, Server) (Answer, error),
) ([]Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	type result struct {
		answer Answer
		err    error
	}
	results := make(chan result, len(servers))
	for _, server := range servers {
		go func() {
			answer, err := query(ctx, server)
			results <- result{answer, err}
		}()
	}
	var answers []Answer
	failures := []error{errNoAnswer}
	var late <-chan time.Time
	for range servers {
		select {
		case r := <-results:
			if r.err != nil {
				failures = append(failures, r.err)
				continue
			}
			answers = append(answers, r.answer)
			if late == nil && len(answers) > len(servers)/2 {
				late = time.After(grace)
			}
		case <-late:
			return answers, nil
		case <-ctx.Done(): // Each query ends by itself.
			failures = append(failures, ctx.Err())
		}
	}
	if len(answers) == 0 {
		return nil, errors.Join(failures...)
	}
	return answers, nil
}
