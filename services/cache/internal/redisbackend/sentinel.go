package redisbackend

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// sentinelConns bounds the connections to one Sentinel. Readers query it at most every 100 ms, and writers share the
// connections.
const sentinelConns = 4

// sentinels are the Sentinels of one master.
//
// A master that hung while another one was promoted does not learn of the promotion for about ten seconds. So the
// Sentinels are queried also while a connection to a master is open.
type sentinels struct {
	shared  *shared
	clients []*redis.Client
}

func newSentinels(of *shared) *sentinels {
	s := &sentinels{shared: of}
	for _, address := range of.location.addresses {
		options := of.options(address)
		options.Username = ""
		options.DB, options.PoolSize, options.MaxActiveConns = 0, sentinelConns, sentinelConns
		// A Sentinel that hangs occupies one connection for each query.
		options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = queryTimeout, queryTimeout, queryTimeout
		options.Dialer = deferDialError(redis.NewDialer(options))
		s.clients = append(s.clients, redis.NewClient(options))
	}
	return s
}

// open returns an instance for the current master.
func (s *sentinels) open(epoch string) *instance {
	inst := &instance{epoch: epoch, shared: s.shared, confirmMaster: s.confirmMaster}
	options := s.shared.options("master")
	options.OnConnect = inst.handshake
	options.Dialer = deferDialError(func(ctx context.Context, network, _ string) (net.Conn, error) {
		address, err := s.masterAddr(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := redis.NewDialer(s.shared.options(address))(ctx, network, address)
		if err == nil {
			inst.address.CompareAndSwap(nil, &address)
		}
		return conn, err
	})
	inst.client = redis.NewClient(options)
	return inst
}

// confirmMaster returns errInstanceGone if the master is no longer at the address of the instance's first connection.
// All other connections of the instance were verified to lead to the same process.
func (s *sentinels) confirmMaster(ctx context.Context, inst *instance) error {
	address, err := s.masterAddr(ctx)
	if err == nil && *inst.address.Load() != address {
		err = errInstanceGone
	}
	return err
}

// masterInfo is a master as one Sentinel reports it.
type masterInfo struct {
	address string
	epoch   uint64 // of the fail-over that promoted it
}

// masterAddr returns the address of the master that was promoted last, according to any of the Sentinels. The Sentinel
// that promotes a replica is the first to know.
func (s *sentinels) masterAddr(ctx context.Context) (string, error) {
	known, err := queryQuorum(ctx, s.clients, sentinelGrace, s.query)
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

func (s *sentinels) query(ctx context.Context, sentinel *redis.Client) (info masterInfo, err error) {
	var address *redis.StringSliceCmd
	var state *redis.MapStringStringCmd
	_, err = sentinel.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		// During a fail-over the first command already returns the new master, the second only its epoch.
		address = redis.NewStringSliceCmd(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.shared.location.master)
		state = redis.NewMapStringStringCmd(ctx, "SENTINEL", "MASTER", s.shared.location.master)
		return errors.Join(pipe.Process(ctx, address), pipe.Process(ctx, state))
	})
	if err != nil {
		return info, err
	}
	hostPort := address.Val()
	if len(hostPort) != 2 { //nolint:mnd // host and port
		return info, errNoAnswer
	}
	info.address = net.JoinHostPort(hostPort[0], hostPort[1])
	info.epoch, err = strconv.ParseUint(state.Val()["config-epoch"], 10, 64)
	return info, err
}

func (s *sentinels) close() error {
	var errs []error
	for _, client := range s.clients {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}
