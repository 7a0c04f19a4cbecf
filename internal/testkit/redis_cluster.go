package testkit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	clusterMasters = 3
	clusterNodes   = 2 * clusterMasters
	clusterSlots   = 1 << 14

	// nodeTimeout, in milliseconds, is how long a node may be silent until the others make its replica the master.
	nodeTimeout = "2000"

	// promotionTimeout is when a node has given up to become the master that was asked to. It does after 5 s, if the
	// master has not noticed yet that it is its replica.
	promotionTimeout = 6 * time.Second
)

// RedisCluster is a Redis Cluster of six servers: three masters at first, and a replica of each.
type RedisCluster struct{ Nodes []*Redis }

// StartRedisCluster runs a new, empty cluster until the test ends.
func StartRedisCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	c := &RedisCluster{}
	for range clusterNodes {
		node, err := startNode(tb)
		if err != nil {
			tb.Fatal(err)
		}
		c.Nodes = append(c.Nodes, node)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := c.join(ctx); err != nil {
		tb.Fatal(err)
	}
	Eventually(tb, c.Whole)
	return c
}

// startNode runs a server that is a cluster of its own.
func startNode(tb testing.TB) (*Redis, error) {
	tb.Helper()
	node, err := NewRedis(shortDir(tb))
	if err != nil {
		return nil, err
	}
	bus, err := FreePort() // Without one of its own it would be among the ports of outgoing connections.
	if err != nil {
		return nil, err
	}
	node.Args = append(node.Args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus),
		"--cluster-node-timeout", nodeTimeout, "--repl-diskless-sync-delay", "0")
	if err := node.Start(); err != nil {
		return nil, err
	}
	tb.Cleanup(node.Kill)
	return node, nil
}

// URL is how Gatehouse's settings name the cluster: by some of its nodes.
func (c *RedisCluster) URL() string {
	return fmt.Sprintf("redis+cluster://%s,%s,%s", c.Nodes[0].Addr(), c.Nodes[1].Addr(), c.Nodes[clusterMasters].Addr())
}

// Client connects to the cluster, for a test that looks behind Gatehouse's back. The test closes it.
func (c *RedisCluster) Client() *redis.ClusterClient {
	addresses := make([]string, 0, len(c.Nodes))
	for _, node := range c.Nodes {
		addresses = append(addresses, node.Addr())
	}
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses, ContextTimeoutEnabled: true})
}

// join makes one cluster of the nodes. The nodes of the second half are replicas of those of the first.
func (c *RedisCluster) join(ctx context.Context) error {
	for i, node := range c.Nodes {
		const share = (clusterSlots + clusterMasters - 1) / clusterMasters
		if i < clusterMasters {
			last := min((i+1)*share, clusterSlots) - 1
			if err := do(ctx, node, "CLUSTER", "ADDSLOTSRANGE", i*share, last); err != nil {
				return err
			}
		}
		if err := do(ctx, node, "CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
			return err
		}
		first := c.Nodes[0]
		if err := do(ctx, node, "CLUSTER", "MEET", "127.0.0.1", first.port.number, first.busPort()); err != nil {
			return err
		}
	}
	for i, replica := range c.Nodes[clusterMasters:] {
		id, err := ask(ctx, c.Nodes[i], "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		// A node cannot be a replica of one that it has not heard of yet.
		err = until(ctx, func() error { return do(ctx, replica, "CLUSTER", "REPLICATE", id) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Whole reports what is missing until all slots have a master that all nodes know, and each master has a replica that
// is up to date.
func (c *RedisCluster) Whole() error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	for _, node := range c.Nodes {
		info, err := ask(ctx, node, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		for _, wanted := range []string{"cluster_state:ok", "cluster_size:3", "cluster_known_nodes:6"} {
			if !strings.Contains(info, wanted+"\r\n") {
				return fmt.Errorf("node %s lacks %s", node.Addr(), wanted)
			}
		}
		replication, err := ask(ctx, node, "INFO", "replication")
		if err != nil {
			return err
		}
		if !strings.Contains(replication, "master_link_status:up") && !strings.Contains(replication, "state=online") {
			return fmt.Errorf("node %s has no replica, or is one that is not up to date", node.Addr())
		}
	}
	return nil
}

// MasterOf returns the node that is the master of the key's slot, by what any node says that is one.
func (c *RedisCluster) MasterOf(tb testing.TB, key string) *Redis {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	for _, node := range c.Nodes {
		if node.Ended() || !isMaster(ctx, node) {
			continue
		}
		if _, err := ask(ctx, node, "GET", key); err == nil || errors.Is(err, redis.Nil) {
			return node
		}
	}
	tb.Fatalf("no node is the master of %q", key)
	return nil
}

// Promote makes a replica of the master of the key's slot the master in its place, as an operator would who takes a
// machine out of service.
func (c *RedisCluster) Promote(tb testing.TB, key string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	before := c.MasterOf(tb, key)
	id, err := ask(ctx, before, "CLUSTER", "MYID")
	if err != nil {
		tb.Fatal(err)
	}
	for _, node := range c.Nodes {
		if nodes, err := ask(ctx, node, "CLUSTER", "NODES"); err != nil || !strings.Contains(nodes, "myself,slave "+id) {
			continue
		}
		var asked time.Time
		Eventually(tb, func() error {
			if isMaster(ctx, node) && !isMaster(ctx, before) {
				return c.Whole() //nolint:contextcheck // it has a time of its own
			}
			if time.Since(asked) < promotionTimeout {
				return errors.New("the replica is not the master yet")
			}
			asked = time.Now()
			return errors.Join(errors.New("the replica was asked again"), do(ctx, node, "CLUSTER", "FAILOVER"))
		})
		return
	}
	tb.Fatalf("the master of %q has no replica", key)
}

// Masters returns the nodes that are masters by what they say.
func (c *RedisCluster) Masters(ctx context.Context) []*Redis {
	var masters []*Redis
	for _, node := range c.Nodes {
		if !node.Ended() && isMaster(ctx, node) {
			masters = append(masters, node)
		}
	}
	return masters
}

func isMaster(ctx context.Context, node *Redis) bool {
	info, err := ask(ctx, node, "INFO", "replication")
	return err == nil && strings.Contains(info, "role:master")
}

// busPort is where a node of a cluster listens for the others.
func (r *Redis) busPort() string {
	for i, argument := range r.Args {
		if argument == "--cluster-port" {
			return r.Args[i+1]
		}
	}
	return ""
}

func do(ctx context.Context, server *Redis, command ...any) error {
	_, err := ask(ctx, server, command...)
	return err
}

// ask does a command, and gives its answer as text.
func ask(ctx context.Context, server *Redis, command ...any) (string, error) {
	client := server.Client()
	defer func() { _ = client.Close() }() // It was used once.
	answer, err := client.Do(ctx, command...).Text()
	if err != nil {
		return "", fmt.Errorf("%v at %s: %w", command[0], server.Addr(), err)
	}
	return answer, nil
}

// until tries until it succeeds, or ctx is done.
func until(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return err
		}
	}
}
