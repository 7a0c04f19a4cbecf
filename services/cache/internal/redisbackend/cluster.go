package redisbackend

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

var (
	errNoMaster = errors.New("no master of the cluster has the slot of the key")
	errAllSlots = errors.New("some slots of the cluster have no master")
)

// cluster is a source of the masters of a Redis Cluster. Keys name the life of the master that keeps them, so where a
// key is has to be known before what it is called. That is why this is not the cluster client of go-redis, which finds
// the master of a key that it is given.
type cluster struct {
	shared *shared
	turn   chan struct{} // held by who looks for the masters

	mu        sync.Mutex
	epoch     string
	masters   *masters // nil until they are looked for
	addresses []string // of all nodes that were heard of
	begun     uint64   // how often the masters were looked for
	found     uint64   // the last time that they were found
	closed    bool
}

// masters is who keeps what.
type masters struct {
	runs  []*run
	owner [slots]*run // nil for nobody
}

func newCluster(s *shared) *cluster {
	return &cluster{shared: s, turn: make(chan struct{}, 1), addresses: s.location.addresses}
}

func (c *cluster) of(ctx context.Context, key string) (*run, error) {
	r, begun, err := c.owner(key)
	if err == nil && r == nil {
		if err = c.look(ctx, begun); err == nil {
			r, _, err = c.owner(key)
		}
	}
	if err == nil && r == nil {
		err = errNoMaster
	}
	return r, err
}

// owner gives the run of the master that keeps a key, nil if the masters have to be looked for, and how often they
// were.
func (c *cluster) owner(key string) (r *run, begun uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, 0, redis.ErrClosed
	case c.epoch == "":
		return nil, 0, errNoEpoch
	case c.masters == nil:
		return nil, c.begun, nil
	}
	r = c.masters.owner[slot(entry.Tag(key))]
	if r != nil && r.suspect.Load() {
		r = nil
	}
	return r, c.begun, nil
}

func (c *cluster) all(ctx context.Context) ([]*run, error) {
	c.mu.Lock()
	begun := c.begun
	c.mu.Unlock()
	if err := c.look(ctx, begun); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.masters == nil:
		return nil, errNoEpoch
	case slices.Contains(c.masters.owner[:], nil):
		return nil, errAllSlots
	}
	return c.masters.runs, nil
}

// lost looks for the masters before it says that there is no other: who gives up although a replica was made the master
// would be missed there. Others may believe that one already.
func (c *cluster) lost(ctx context.Context, key string, in *run, err error) bool {
	c.mu.Lock()
	begun := c.begun
	c.mu.Unlock()
	switch {
	case over(err):
		_ = in.end()
	case away(err):
		in.suspect.Store(true)
	default:
		return false
	}
	if ctx.Err() != nil || c.look(ctx, begun) != nil {
		return false
	}
	r, _, err := c.owner(key)
	return err == nil && r != nil && r != in
}

func (c *cluster) enter(epoch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.epoch == epoch {
		return
	}
	c.epoch = epoch
	_ = c.replace(nil)
}

func (c *cluster) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.replace(nil)
}

// replace takes other masters for the present ones, and ends the runs that are not among them.
func (c *cluster) replace(by *masters) error {
	var faults []error
	if c.masters != nil {
		for _, r := range c.masters.runs {
			if by == nil || !slices.Contains(by.runs, r) {
				faults = append(faults, r.end())
			}
		}
	}
	c.masters = by
	return errors.Join(faults...)
}

// look looks for the masters, unless somebody has found them who began after they had been looked for so often.
func (c *cluster) look(ctx context.Context, begun uint64) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	done := c.found > begun
	if !done {
		c.begun++
	}
	addresses := c.addresses
	c.mu.Unlock()
	if done {
		return nil
	}
	views, err := askAll(ctx, addresses, askTimeout, c.view)
	if err != nil {
		return err
	}
	shards, heard := merge(views, c.shared.location.tls)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return redis.ErrClosed
	}
	if c.epoch == "" {
		return errNoEpoch
	}
	_ = c.replace(c.runs(shards)) // What is under way there begins again.
	c.found = c.begun
	for _, seed := range c.shared.location.addresses {
		if !slices.Contains(heard, seed) {
			heard = append(heard, seed)
		}
	}
	c.addresses = heard
	return nil
}

// view asks a node for what it knows.
func (c *cluster) view(ctx context.Context, address string) (view, error) {
	options := c.shared.options(address)
	options.MaxRetries, options.PoolSize, options.MaxActiveConns = -1, 1, 1
	options.Dialer = honest(redis.NewDialer(options)) // The pool would go on trying for a second after it is closed.
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }() // It was asked once.
	nodes, err := client.ClusterNodes(ctx).Result()
	return view{address, nodes}, err
}

// runs gives the masters of the shards: the runs that there are, where nothing has changed.
func (c *cluster) runs(shards []*shard) *masters {
	m := new(masters)
	for _, s := range shards {
		r := c.present(s)
		if r == nil {
			r = c.shared.newRun(c.epoch, s.address)
			r.shard = s
		}
		r.suspect.Store(false)
		m.runs = append(m.runs, r)
		for _, slot := range s.slots {
			m.owner[slot] = r
		}
	}
	return m
}

func (c *cluster) present(s *shard) *run {
	if c.masters == nil {
		return nil
	}
	for _, r := range c.masters.runs {
		if !r.over.Load() && r.shard.same(s) {
			return r
		}
	}
	return nil
}
