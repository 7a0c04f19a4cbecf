//go:build clusters

package testkit

import "testing"

// TestGalera checks that a Galera cluster survives the loss of a node, and that the node rejoins.
func TestGalera(t *testing.T) {
	g := StartGalera(t)
	if err := g.Nodes[0].CreateDatabase("one"); err != nil {
		t.Fatal(err)
	}
	g.Nodes[1].Kill()
	Eventually(t, func() error { return g.Nodes[2].CreateDatabase("two") })
	if err := g.Nodes[1].Rejoin(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, g.Whole)
	for _, database := range []string{"one", "two"} {
		db, err := g.Nodes[1].Open(database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Ping(); err != nil {
			t.Errorf("the node that came back has no database %s: %v", database, err)
		}
	}
}
