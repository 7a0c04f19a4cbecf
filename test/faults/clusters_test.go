//go:build long && clusters

package faults

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// clusteredServers is a cluster on a Redis Cluster and a Galera cluster. Its services talk to each other and to these
// directly.
type clusteredServers struct {
	*testCluster

	redis  *testkit.RedisCluster
	galera *testkit.Galera
}

func newClusteredServers(t *testing.T, replicas int) *clusteredServers {
	t.Helper()
	redis, galera := testkit.StartRedisCluster(t), testkit.StartGalera(t)
	infra := cluster.NewInfraOn(t, binary, &galera.Nodes[0].MariaDB) // This node is not lost.
	started := cluster.Start(t, infra, cluster.Config{
		Program: binary, Replicas: replicas, StoreArgs: cheapHashes, Route: nextStore,
		DatabaseURL: func(replica int) string { return galera.URL(infra.Database, replica) },
		RedisURL:    func(int) string { return redis.URL() },
	})
	return &clusteredServers{wrap(started, nil, openMariaDB(infra)), redis, galera}
}

// loseMaster is that a master of the Redis Cluster is lost: until its replica is the master, and then for a while.
func (c *clusteredServers) loseMaster(name string, stale staleness, lose func(*testkit.Redis) (back func() error, err error)) fault {
	return fault{name: name, on: "redis", stale: stale, begin: func(ctx context.Context) (func() error, error) {
		masters := c.redis.Masters(ctx)
		lost := masters[mathrand.IntN(len(masters))]
		back, err := lose(lost)
		if err == nil {
			err = await(ctx, func() error { return c.promoted(ctx, lost, len(masters)) })
		}
		return func() error { return errors.Join(back(), await(ctx, c.redis.Whole)) }, err
	}}
}

// promoted reports whether there are as many masters as before, without the one that was lost.
func (c *clusteredServers) promoted(ctx context.Context, lost *testkit.Redis, before int) error {
	others := &testkit.RedisCluster{}
	for _, node := range c.redis.Nodes {
		if node != lost {
			others.Nodes = append(others.Nodes, node)
		}
	}
	if len(others.Masters(ctx)) < before {
		return errors.New("no replica is the master yet")
	}
	return nil
}

func killedRedis(server *testkit.Redis) (func() error, error) {
	server.Kill()
	return server.Start, nil
}

func frozenRedis(server *testkit.Redis) (func() error, error) {
	return server.Thaw, server.Freeze()
}

func (c *clusteredServers) loseNode(number int) fault {
	return fault{name: "a node of Galera is killed", on: "galera", begin: func(ctx context.Context) (func() error, error) {
		node := c.galera.Nodes[number]
		node.Kill()
		return func() error {
			return errors.Join(node.Rejoin(), await(ctx, c.galera.Whole)) //nolint:contextcheck // a start has a time of its own
		}, nil
	}}
}

// await waits until a cluster is whole again.
func await(ctx context.Context, whole func() error) error {
	for end := time.Now().Add(time.Minute); ; {
		err := whole()
		if err == nil || time.Now().After(end) {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// outlast is for how long at most a fault goes on. A node of Galera is reckoned with for 3 s after its end.
const outlast = 6 * time.Second

// TestFaultsOnClusters loses a master of the Redis Cluster and a node of Galera under load, by themselves and together.
func TestFaultsOnClusters(t *testing.T) {
	seed := seedOf(t)
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	c := newClusteredServers(t, replicas)
	r := newRun(t, seed, c.testCluster)
	r.longest = outlast
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.startWorkers(ctx)
	r.recover(ctx)
	masterKilled := c.loseMaster("a master of Redis is killed", staleness{}, killedRedis)
	for _, faults := range [][]fault{
		{masterKilled},
		{c.loseNode(1)},
		{c.loseMaster("a master of Redis is frozen", untilFlushed, frozenRedis)},
		{killed("cache 0", c.Caches[0], byFeed)},
		{masterKilled, c.loseNode(2)},
	} {
		r.suffer(ctx, random, faults...)
		t.Log(r.line())
	}
	cancel()
	r.finish()
}
