package testkit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	galeraNodes = 3

	// galeraTimeouts are how long a node may be silent until the others go on without it: writes wait that long.
	galeraTimeouts = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;evs.suspect_timeout=PT3S;" +
		"evs.inactive_timeout=PT8S"
)

// Galera is a cluster of three MariaDB servers, each of which has all data and takes writes.
type Galera struct{ Nodes []*GaleraNode }

// GaleraNode is a server of a cluster. One that was stopped or killed is started again by Rejoin.
type GaleraNode struct {
	MariaDB

	group string // address where it listens for the others
	peers func() string
}

// StartGalera runs a new cluster without a database until the test ends.
func StartGalera(tb testing.TB) *Galera {
	tb.Helper()
	g := &Galera{}
	for i := range galeraNodes {
		dir := shortDir(tb)
		node, err := g.newNode(dir, i)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(node.Kill)
		g.Nodes = append(g.Nodes, node)
	}
	if err := g.Nodes[0].found(); err != nil {
		tb.Fatal(err)
	}
	for _, node := range g.Nodes[1:] {
		if err := node.Rejoin(); err != nil {
			tb.Fatal(err)
		}
	}
	Eventually(tb, g.Whole)
	return g
}

func (g *Galera) newNode(dir string, index int) (*GaleraNode, error) {
	library, err := galeraLibrary()
	if err != nil {
		return nil, err
	}
	makeData := makeDataFolder
	if index > 0 {
		first := filepath.Join(filepath.Dir(g.Nodes[0].pidFile), "data")
		makeData = func(dir string, _ []string) error {
			return os.CopyFS( // Faster than to make it again. What is in it comes from the first node, again.
				filepath.Join(dir, "data"), os.DirFS(first))
		}
	}
	server, err := newMariaDB(dir, makeData)
	if err == nil {
		err = giveToRsync(dir)
	}
	if err != nil {
		return nil, err
	}
	group, err := FreePort()
	transfer, err2 := FreePort()
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	node := &GaleraNode{MariaDB: *server, group: loopback(group), peers: g.peers}
	node.Args = append(node.Args, "--wsrep-on=ON", "--wsrep-provider="+library, "--wsrep-cluster-name=gatehouse",
		"--wsrep-node-address=127.0.0.1", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
		"--wsrep-sst-method=rsync", fmt.Sprintf("--wsrep-provider-options=gmcast.listen_addr=tcp://%s;"+
			"ist.recv_addr=%s;gcache.size=64M;%s", node.group, loopback(transfer), galeraTimeouts))
	return node, nil
}

// giveToRsync allows others to copy their data to a server. The daemon that takes it writes as nobody where the
// server is run by root, as it often is in a container.
func giveToRsync(dir string) error {
	const nobody = 65534
	if _, err := FindProgram("rsync"); err != nil || os.Geteuid() != 0 {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	return filepath.WalkDir(filepath.Join(dir, "data"), func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(path, nobody, nobody)
		}
		return err
	})
}

func galeraLibrary() (string, error) {
	for _, folder := range []string{"/usr/lib/galera", "/usr/lib64/galera-4", "/usr/lib/galera-4"} {
		library := filepath.Join(folder, "libgalera_smm.so")
		if _, err := os.Stat(library); err == nil {
			return library, nil
		}
	}
	return "", errors.New("libgalera_smm.so is not installed: run tools/install-test-deps.sh clusters")
}

// peers are where the nodes listen for each other.
func (g *Galera) peers() string {
	addresses := make([]string, 0, len(g.Nodes))
	for _, node := range g.Nodes {
		addresses = append(addresses, node.group)
	}
	return "gcomm://" + strings.Join(addresses, ",")
}

// URL is how Gatehouse's settings name a database of the cluster: by all nodes, from this one on.
func (g *Galera) URL(database string, first int) string {
	addresses := make([]string, 0, len(g.Nodes))
	for i := range g.Nodes {
		addresses = append(addresses, loopback(g.Nodes[(first+i)%len(g.Nodes)].port.number))
	}
	return fmt.Sprintf("mysql://root@%s/%s", strings.Join(addresses, ","), database)
}

// Whole reports what is missing until all nodes know all nodes and take statements.
func (g *Galera) Whole() error {
	for _, node := range g.Nodes {
		if err := node.synced(); err != nil {
			return err
		}
		size, err := node.status("wsrep_cluster_size")
		if err == nil && size != strconv.Itoa(len(g.Nodes)) {
			err = fmt.Errorf("a node knows a cluster of %s", size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// found starts the node as the first of the cluster.
func (n *GaleraNode) found() error { return n.startIn("gcomm://") }

// Rejoin starts the node as one of the cluster, of which others must run. It goes on from what it has, or starts over
// if that fails: the copy of another's data ends with an error if a file there is gone before it is copied.
func (n *GaleraNode) Rejoin() error {
	position, err := n.position()
	if err != nil {
		return err
	}
	err = n.startIn(n.peers(), "--wsrep-start-position="+position)
	if err == nil {
		return nil
	}
	if again := n.startIn(n.peers()); again != nil {
		return errors.Join(err, again)
	}
	return nil
}

func (n *GaleraNode) startIn(cluster string, more ...string) error {
	return n.port.use(func(port int) error {
		options := append([]string{fmt.Sprintf("--port=%d", port), "--wsrep-cluster-address=" + cluster}, more...)
		return n.start(options, n.synced)
	})
}

var recovered = regexp.MustCompile(`Recovered position:? ?([0-9a-f-]{36}:-?[0-9]+)`)

// position finds out how far the node was, as it does not know that itself when it was killed.
func (n *GaleraNode) position() (string, error) {
	recovery := Process{Path: n.Path, Log: n.Log}
	recovery.Args = append(slices.Clip(n.Args), "--wsrep-recover", "--wsrep-cluster-address="+n.peers())
	if err := recovery.Start(func() error { return nil }); err != nil {
		return "", err
	}
	if code, err := recovery.Wait(startTimeout); err != nil || code != 0 {
		return "", errors.Join(err, fmt.Errorf("the recovery ended with %d:\n%s", code, recovery.Tail()))
	}
	found := recovered.FindAllStringSubmatch(recovery.Output(), -1)
	if len(found) == 0 {
		return "", fmt.Errorf("the recovery tells no position:\n%s", recovery.Tail())
	}
	return found[len(found)-1][1], nil
}

// synced reports why the node does not take statements.
func (n *GaleraNode) synced() error {
	if err := n.answers(); err != nil {
		return err
	}
	state, err := n.status("wsrep_local_state_comment")
	if err == nil && state != "Synced" {
		err = fmt.Errorf("the node is %s", state)
	}
	return err
}

func (n *GaleraNode) status(name string) (value string, err error) {
	err = n.with(func(ctx context.Context, db *sql.DB) error {
		var same string
		return db.QueryRowContext(ctx, "SHOW STATUS LIKE '"+name+"'").Scan(&same, &value)
	})
	if err != nil {
		return "", fmt.Errorf("ask a node for %s: %w", name, err)
	}
	return value, nil
}
