//go:build long

package faults

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// server is a process that can be killed, frozen, and started again at the same address.
type server interface {
	Start() error
	Kill()
	Freeze() error
	Thaw() error
}

// testCluster is Gatehouse as it runs in production: several of each service, one MariaDB, one Redis, and a link of
// ours between any two that talk.
type testCluster struct {
	*cluster.Cluster

	native, rest []string           // addresses of the gateways
	links        map[string][]*link // by the kind of link, such as "cache→redis"
	open         func(t *testing.T) *sql.DB
}

// cheapHashes reduces the cost of hashes, so that the cores serve other calls. Workers change an account far more often
// than its owner would.
var cheapHashes = []string{
	"--argon2-memory", "7168", "--argon2-iterations", "1", "--own-changes-per-minute", "100000",
}

// newTestCluster runs so many of each service until the test ends. Gateway i talks to cache i and to store i; cache
// i to store i+1. The cache services are made of a program of their own.
func newTestCluster(t *testing.T, replicas int, cacheProgram string) *testCluster {
	t.Helper()
	infra := cluster.NewPrivateInfra(t, binary)
	links := map[string][]*link{}
	link := func(kind string, replica int, to string) string {
		made := newLink(t, fmt.Sprintf("%s %d", kind, replica), to)
		links[kind] = append(links[kind], made)
		return made.address()
	}
	database := strings.Trim(strings.TrimPrefix(infra.MariaDB.URL(""), "mysql://root@"), "/")
	started := cluster.Start(t, infra, cluster.Config{
		Program: binary, CacheProgram: cacheProgram, Replicas: replicas, StoreArgs: cheapHashes,
		Route: func(kind string, replica int, addresses []string) string {
			return link(kind, replica, nextStore(kind, replica, addresses))
		},
		DatabaseURL: func(replica int) string {
			return "mysql://root@" + link("store→mariadb", replica, database) + "/" + infra.Database
		},
		RedisURL: func(replica int) string {
			return "redis://" + link("cache→redis", replica, infra.Redis.Addr()) + "/0"
		},
	})
	return wrap(started, links, openMariaDB(infra))
}

// nextStore routes cache i to store i+1, and all else to the replica with the same number.
func nextStore(kind string, replica int, addresses []string) string {
	if kind == "cache→store" {
		replica = (replica + 1) % len(addresses)
	}
	return addresses[replica]
}

// wrap returns a cluster with what the tests of this package use.
func wrap(started *cluster.Cluster, links map[string][]*link, open func(t *testing.T) *sql.DB) *testCluster {
	c := &testCluster{Cluster: started, links: links, open: open}
	for _, gateway := range started.Gateways {
		c.native = append(c.native, gateway.Address)
		c.rest = append(c.rest, strings.TrimPrefix(gateway.REST, "http://"))
	}
	return c
}

// openMariaDB returns a function that connects to the database, past all links.
func openMariaDB(infra *cluster.Infra) func(t *testing.T) *sql.DB {
	return func(t *testing.T) *sql.DB {
		t.Helper()
		db, err := infra.MariaDB.Open(infra.Database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
}
