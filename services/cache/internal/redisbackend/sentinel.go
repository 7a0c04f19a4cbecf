package redisbackend

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// sentinelConns bounds the connections to one Sentinel. Readers ask at most every 100 ms, writers share what there is.
const sentinelConns = 4

// watch is the Sentinels of a master.
//
// A master that hangs, and goes on after another one was made the master, does not know of that for some ten seconds.
// So who has a connection to it asks the Sentinels as well.
type watch struct {
	shared    *shared
	sentinels []*redis.Client
}

func newWatch(s *shared) *watch {
	w := &watch{shared: s}
	for _, address := range s.location.addresses {
		options := s.options(address)
		options.Username = ""
		options.DB, options.PoolSize, options.MaxActiveConns = 0, sentinelConns, sentinelConns
		// One that hangs holds as many connections as ask it.
		options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = askTimeout, askTimeout, askTimeout
		options.Dialer = honest(redis.NewDialer(options))
		w.sentinels = append(w.sentinels, redis.NewClient(options))
	}
	return w
}

// open gives a run of the master.
func (w *watch) open(epoch string) *run {
	s := w.shared
	r := &run{
		epoch: epoch, seal: s.seal, now: s.now, numbers: &s.numbers, inspect: s.inspect, confirm: w.confirm,
	}
	options := s.options("master")
	options.OnConnect = r.meet
	options.Dialer = honest(func(ctx context.Context, network, _ string) (net.Conn, error) {
		address, err := w.master(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := redis.NewDialer(s.options(address))(ctx, network, address)
		if err == nil {
			r.address.CompareAndSwap(nil, &address)
		}
		return conn, err
	})
	r.client = redis.NewClient(options)
	return r
}

// confirm asks whether the master is where the first connection of the run led, and with it all that were admitted.
func (w *watch) confirm(ctx context.Context, r *run) error {
	address, err := w.master(ctx)
	if err == nil && *r.address.Load() != address {
		err = errOver
	}
	return err
}

// promotion is a master as a Sentinel knows it.
type promotion struct {
	address string
	epoch   uint64 // of the fail-over that made it the master
}

// master gives the address of the one who was made the master last, by what any of the Sentinels knows. One that makes
// a replica the master knows it first.
func (w *watch) master(ctx context.Context) (string, error) {
	known, err := askAll(ctx, w.sentinels, sentinelGrace, w.ask)
	if err != nil {
		return "", err
	}
	last := known[0]
	for _, other := range known[1:] {
		if other.epoch > last.epoch {
			last = other
		}
	}
	return last.address, nil
}

func (w *watch) ask(ctx context.Context, sentinel *redis.Client) (p promotion, err error) {
	var address *redis.StringSliceCmd
	var state *redis.MapStringStringCmd
	_, err = sentinel.Pipelined(ctx, func(both redis.Pipeliner) error {
		// During a fail-over the first tells the new master already, and the second only its epoch.
		address = redis.NewStringSliceCmd(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", w.shared.location.master)
		state = redis.NewMapStringStringCmd(ctx, "SENTINEL", "MASTER", w.shared.location.master)
		return errors.Join(both.Process(ctx, address), both.Process(ctx, state))
	})
	if err != nil {
		return p, err
	}
	place := address.Val()
	if len(place) != 2 { //nolint:mnd // host and port
		return p, errNobody
	}
	p.address = net.JoinHostPort(place[0], place[1])
	p.epoch, err = strconv.ParseUint(state.Val()["config-epoch"], 10, 64)
	return p, err
}

func (w *watch) close() error {
	var faults []error
	for _, sentinel := range w.sentinels {
		faults = append(faults, sentinel.Close())
	}
	return errors.Join(faults...)
}
