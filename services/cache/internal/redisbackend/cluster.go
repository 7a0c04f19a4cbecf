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

// cluster is a source of the masters of a Redis Cluster. A key in Redis names the instance that holds it, so the master
// must be found before the key is known. The cluster client of go-redis works the other way round, and learns the
// masters from one node (ADR 0028).
type cluster struct {
	shared     *shared
	refreshing chan struct{} // holds an element during a refresh

	mu          sync.Mutex
	epoch       string
	masters     *masters
	addresses   []string // of all known nodes
	refreshes   uint64   // how many were begun
	lastRefresh uint64   // the number of the last that succeeded
	closed      bool
}

// masters are the instances of all masters, and the slots that they hold.
type masters struct {
	instances []*instance
	owner     [slots]*instance // nil for a slot without a master
}

func newCluster(s *shared) *cluster {
	return &cluster{shared: s, refreshing: make(chan struct{}, 1), addresses: s.location.addresses, masters: new(masters)}
}

func (c *cluster) instanceFor(ctx context.Context, key string) (*instance, error) {
	inst, begun, err := c.owner(key)
	if err == nil && inst == nil {
		if err = c.refresh(ctx, begun); err == nil {
			inst, _, err = c.owner(key)
		}
	}
	if err == nil && inst == nil {
		err = errNoMaster
	}
	return inst, err
}

// owner returns the instance that holds a key, or nil if a refresh is needed. It also returns the number of refreshes
// begun so far.
func (c *cluster) owner(key string) (inst *instance, begun uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, 0, redis.ErrClosed
	case c.epoch == "":
		return nil, 0, errNoEpoch
	}
	inst = c.masters.owner[slot(entry.Tag(key))]
	if inst != nil && inst.suspect.Load() {
		inst = nil
	}
	return inst, c.refreshes, nil
}

func (c *cluster) instances(ctx context.Context) ([]*instance, error) {
	c.mu.Lock()
	begun := c.refreshes
	c.mu.Unlock()
	if err := c.refresh(ctx, begun); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.masters.owner[:], nil) {
		return nil, errAllSlots
	}
	return c.masters.instances, nil
}

// onError looks for the masters before it reports that there is no other instance. If a replica was promoted, other
// services may use it already, and would miss a write that is given up.
func (c *cluster) onError(ctx context.Context, key string, in *instance, err error) bool {
	c.mu.Lock()
	begun := c.refreshes
	c.mu.Unlock()
	switch {
	case isInstanceGone(err):
		_ = in.close()
	case isUnreachable(err):
		in.suspect.Store(true)
	default:
		return false
	}
	if ctx.Err() != nil || c.refresh(ctx, begun) != nil {
		return false
	}
	inst, _, err := c.owner(key)
	return err == nil && inst != nil && inst != in
}

func (c *cluster) setEpoch(epoch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.epoch == epoch {
		return
	}
	c.epoch = epoch
	_ = c.replace(new(masters))
}

func (c *cluster) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.replace(new(masters))
}

// replace replaces the masters, and closes the instances that are not among the new ones.
func (c *cluster) replace(by *masters) error {
	var errs []error
	for _, inst := range c.masters.instances {
		if !slices.Contains(by.instances, inst) {
			errs = append(errs, inst.close())
		}
	}
	c.masters = by
	return errors.Join(errs...)
}

// refresh finds the masters. It does nothing if a refresh has succeeded that began after the given number of others.
func (c *cluster) refresh(ctx context.Context, begun uint64) error {
	select {
	case c.refreshing <- struct{}{}:
		defer func() { <-c.refreshing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	done := c.lastRefresh > begun
	if !done {
		c.refreshes++
	}
	addresses := c.addresses
	c.mu.Unlock()
	if done {
		return nil
	}
	views, err := queryQuorum(ctx, addresses, queryTimeout, c.queryNode)
	if err != nil {
		return err
	}
	shards, advertised := merge(views, c.shared.location.tls)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return redis.ErrClosed
	}
	if c.epoch == "" {
		return errNoEpoch
	}
	_ = c.replace(c.newMasters(shards)) // Operations under way in the others are retried.
	c.lastRefresh = c.refreshes
	for _, seed := range c.shared.location.addresses {
		if !slices.Contains(advertised, seed) {
			advertised = append(advertised, seed)
		}
	}
	c.addresses = advertised
	return nil
}

// queryNode returns a node's view of the cluster.
func (c *cluster) queryNode(ctx context.Context, address string) (view, error) {
	options := c.shared.options(address)
	options.MaxRetries, options.PoolSize, options.MaxActiveConns = -1, 1, 1
	options.Dialer = deferDialError(redis.NewDialer(options)) // The pool would keep dialing for a second after Close.
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }() // One query was all.
	nodes, err := client.ClusterNodes(ctx).Result()
	return view{address, nodes}, err
}

// newMasters returns the masters of the shards. It reuses the instance of a shard that has not changed.
func (c *cluster) newMasters(shards []*shard) *masters {
	m := new(masters)
	for _, s := range shards {
		inst := c.existing(s)
		if inst == nil {
			inst = c.shared.newInstance(c.epoch, s.address)
			inst.shard = s
		}
		inst.suspect.Store(false)
		m.instances = append(m.instances, inst)
		for _, slot := range s.slots {
			m.owner[slot] = inst
		}
	}
	return m
}

func (c *cluster) existing(s *shard) *instance {
	for _, inst := range c.masters.instances {
		if !inst.ended.Load() && inst.shard.equal(s) {
			return inst
		}
	}
	return nil
}
