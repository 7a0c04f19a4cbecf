//go:build clusters

package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// opened counts the stores that were opened, each on the next node.
var opened atomic.Int64

// engines returns a Galera cluster, which lives as long as the test.
func engines(t *testing.T) map[string]func(*testing.T) Config {
	t.Helper()
	cluster := testkit.StartGalera(t)
	databases := 0
	return map[string]func(*testing.T) Config{"galera": func(t *testing.T) Config {
		t.Helper()
		databases++
		name := fmt.Sprintf("test%d", databases)
		if err := cluster.Nodes[databases%len(cluster.Nodes)].CreateDatabase(name); err != nil {
			t.Fatal(err)
		}
		return Config{URL: cluster.URL(name, databases)}
	}}
}

// anyNode returns the configuration of another store of the same database: with another node first.
func anyNode(config Config) Config {
	before, rest, _ := strings.Cut(config.URL, "@")
	hosts, name, _ := strings.Cut(rest, "/")
	nodes := strings.Split(hosts, ",")
	first := int(opened.Add(1)) % len(nodes)
	nodes = append(nodes[first:len(nodes):len(nodes)], nodes[:first]...)
	config.URL = before + "@" + strings.Join(nodes, ",") + "/" + name
	return config
}

func openOn(t *testing.T, cluster *testkit.Galera, node int) *Storage {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: cluster.URL("test", node)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// startTest returns a cluster with a database, and a store on each node.
func startTest(t *testing.T) (*testkit.Galera, []*Storage) {
	t.Helper()
	cluster := testkit.StartGalera(t)
	if err := cluster.Nodes[0].CreateDatabase("test"); err != nil {
		t.Fatal(err)
	}
	migrateSchema(t, Config{URL: cluster.URL("test", 0)})
	var stores []*Storage
	for node := range cluster.Nodes {
		stores = append(stores, openOn(t, cluster, node))
	}
	return cluster, stores
}

func TestGalera(t *testing.T) {
	t.Run("another_node_reads_what_was_acknowledged", testGaleraAnotherNodeReadsWhatWasAcknowledged)
	t.Run("conflicts_are_retried", testGaleraConflictsAreRetried)
	t.Run("the_loss_of_a_node_loses_no_write", testGaleraTheLossOfANodeLosesNoWrite)
}

// What was acknowledged at one node is read at each other one.
func testGaleraAnotherNodeReadsWhatWasAcknowledged(t *testing.T) {
	cluster, stores := startTest(t)
	for node := range cluster.Nodes {
		exec(t, stores[node], "SET GLOBAL wsrep_slave_threads = 1")
	}
	user := addUser(t, stores[0], "ada@example.com")
	for i := range 300 {
		writer, reader := stores[i%3], stores[(i+1)%3]
		changed, err := changeUser(t, writer, user.ID, func(before account.User) UserChange {
			before.FullName = fmt.Sprintf("Ada %d", i)
			return UserChange{User: before}
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reader.ReadUser(t.Context(), user.ID); err != nil || got != changed {
			t.Fatalf("wrote %+v, another node has %+v, %v", changed, got, err)
		}
	}
}

// Nodes find out at commit that they changed the same row. Callers do not notice that, and no change is lost.
func testGaleraConflictsAreRetried(t *testing.T) {
	_, stores := startTest(t)
	user := addUser(t, stores[0], "ada@example.com")
	failures := func() (count int) {
		for _, s := range stores {
			count += status(t, s, "wsrep_local_cert_failures") + status(t, s, "wsrep_local_bf_aborts")
		}
		return count
	}
	before := failures()
	const writers, each = 6, 30
	errs := race(writers, func(i int) error {
		for range each {
			if _, err := stores[i%3].EndAllSessions(t.Context(), user.ID, Replacement{}, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	got, err := stores[0].ReadUser(t.Context(), user.ID)
	if err != nil || got.SessionGeneration != writers*each || got.Version != user.Version+writers*each {
		t.Errorf("after %d changes: %+v, %v", writers*each, got, err)
	}
	if failures() == before {
		t.Error("there was no conflict: this tests nothing")
	}
}

// Stores go on with other nodes when theirs dies, and nothing that was acknowledged is lost.
func testGaleraTheLossOfANodeLosesNoWrite(t *testing.T) {
	cluster, stores := startTest(t)
	var stopped atomic.Bool
	acknowledged := make([][]account.User, len(stores))
	var after atomic.Int64
	var killed atomic.Bool
	ended := make(chan []error, 1)
	go func() {
		ended <- race(len(stores), func(i int) error {
			for n := 0; !stopped.Load(); n++ {
				user := newUser(fmt.Sprintf("user%d.%d@example.com", i, n))
				late := killed.Load()
				err := stores[i].CreateUser(t.Context(), user, hash)
				if err == nil {
					acknowledged[i] = append(acknowledged[i], user)
					if late && i == 1 {
						after.Add(1)
					}
				} else if !errors.Is(err, ErrUnavailable) {
					return err
				}
			}
			return nil
		})
	}()
	testkit.Eventually(t, func() error { return countAtLeast(t, stores[0], 100) })
	cluster.Nodes[1].Kill()
	killed.Store(true)
	testkit.Eventually(t, func() error {
		if after.Load() < 10 {
			return errors.New("the store of the node that died does not go on")
		}
		return nil
	})
	if err := cluster.Nodes[1].Rejoin(); err != nil {
		t.Error(err)
	}
	stopped.Store(true)
	if err := errors.Join(<-ended...); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, cluster.Whole)
	back := openOn(t, cluster, 1)
	for _, users := range acknowledged {
		for _, user := range users {
			if got, err := back.ReadUser(t.Context(), user.ID); err != nil || got != user {
				t.Errorf("acknowledged %+v, the node that came back has %+v, %v", user, got, err)
			}
		}
	}
}

func countAtLeast(t *testing.T, s *Storage, wanted int) error {
	if users := count(t, s, "users"); users < wanted {
		return fmt.Errorf("%d users", users)
	}
	return nil
}
