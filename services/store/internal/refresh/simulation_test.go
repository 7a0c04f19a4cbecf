package refresh

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The simulations let owners refresh as clients do, beside thieves who have copied a token, and count how many thieves
// are found and how many owners are logged out without one.
const (
	runs      = 3_000
	refreshes = 60 // of each owner
	interval  = 15 * time.Minute
)

// simulation is one session, its owner, and a thief, if there is one.
type simulation struct {
	*lineageOf

	random *rand.Rand
	owner  func(*simulation) // what the owner does at each interval
	thief  func(*simulation) // what the thief does after it, if there is one; nil before the theft

	network string  // of the owner
	stores  []int64 // the owner's tokens: one, or one for each tab
	stolen  int64   // the thief's token
	struck  bool    // whether the thief has got anything
	since   int     // refreshes of the owner since then
}

// play simulates a session until it ends.
func (s *simulation) play(theft int, steal func(*simulation)) {
	for round := range refreshes {
		if s.now = s.now.Add(interval + time.Duration(s.random.IntN(60))*time.Second); s.ended {
			return
		}
		if theft == round {
			s.stolen = s.stores[0]
			s.thief = steal
		}
		s.owner(s)
		if s.struck {
			s.since++
		}
		if s.thief != nil && !s.ended {
			s.thief(s)
		}
	}
}

// trade refreshes with the token of a store, as often as it takes to get an answer, and stores that.
func (s *simulation) trade(store int) {
	for s.random.IntN(5) == 0 { // The answer is lost.
		s.refresh(s.stores[store], s.network)
		s.now = s.now.Add(time.Duration(s.random.IntN(60)) * time.Second)
	}
	if token := s.refresh(s.stores[store], s.network); token != 0 {
		s.stores[store] = token
	}
}

// owners are the ways in which a session is used by its owner.
var owners = map[string]func(*simulation){
	"one tab": func(s *simulation) { s.trade(0) },
	"tabs with a common store": func(s *simulation) {
		for range 1 + s.random.IntN(3) {
			first := s.refresh(s.stores[0], s.network)
			second := s.refresh(s.stores[0], s.network)
			s.now = s.now.Add(time.Duration(s.random.IntN(5)) * time.Second)
			s.stores[0] = []int64{first, second}[s.random.IntN(2)]
		}
	},
	"a phone that changes networks": func(s *simulation) {
		for s.random.IntN(3) == 0 { // The answer is lost with the network.
			s.refresh(s.stores[0], s.network)
			s.network = []string{"home", "mobile", "train", "office"}[s.random.IntN(4)]
			s.now = s.now.Add(time.Duration(s.random.IntN(90)) * time.Second)
		}
		late := request{number: s.stores[0], client: s.network, at: s.now}
		s.trade(0)
		if s.random.IntN(5) == 0 { // A copy of the request arrives late, over the previous network.
			s.now = s.now.Add(time.Duration(s.random.IntN(25)) * time.Second)
			s.refresh(late.number, []string{"home", "mobile"}[s.random.IntN(2)])
		}
	},
}

// thieves are the ways in which a copy is used. They get what the owner's client gets.
var thieves = map[string]func(*simulation){
	"follows": func(s *simulation) { // strikes some seconds after each refresh of the owner
		s.now = s.now.Add(time.Duration(1+s.random.IntN(20)) * time.Second)
		s.strike("elsewhere")
	},
	"follows from everywhere": func(s *simulation) {
		s.now = s.now.Add(time.Duration(1+s.random.IntN(20)) * time.Second)
		s.strike([]string{"here", "there", "elsewhere"}[s.random.IntN(3)])
	},
	"follows twice": func(s *simulation) { // and trades what it got at once, so that the owner's token is void
		s.now = s.now.Add(time.Duration(1+s.random.IntN(20)) * time.Second)
		s.strike("elsewhere")
		s.strike("elsewhere")
	},
	"does not follow": func(s *simulation) { // refreshes when its own access token expires
		s.now = s.now.Add(time.Duration(s.random.IntN(14*60)) * time.Second)
		s.strike("elsewhere")
	},
	"from the owner's network, does not follow": func(s *simulation) {
		s.now = s.now.Add(time.Duration(s.random.IntN(14*60)) * time.Second)
		s.strike(s.network)
	},
	"from the owner's network, follows": func(s *simulation) {
		s.now = s.now.Add(time.Duration(1+s.random.IntN(20)) * time.Second)
		s.strike(s.network)
	},
}

func (s *simulation) strike(network string) {
	if token := s.refresh(s.stolen, network); token != 0 {
		s.struck, s.stolen = true, token
	}
}

// share simulates sessions, and returns the share of those that ended, within a number of refreshes of the owner after
// the thief has got something.
func share(seed uint64, owner, thief func(*simulation), within int) (ended float64) {
	random := rand.New(rand.NewPCG(seed, seed))
	found := 0
	for range runs {
		s := &simulation{lineageOf: newSession(), random: random, owner: owner, network: "home", stores: []int64{1}}
		theft := refreshes // never
		if thief != nil {
			theft = 1 + random.IntN(refreshes/2)
		}
		s.play(theft, thief)
		if s.ended && (thief == nil || s.since <= within) {
			found++
		}
	}
	return float64(found) / runs
}

func TestSimulations(t *testing.T) {
	for name, owner := range owners {
		if got := share(1, owner, nil, 0); got != 0 {
			t.Errorf("%s: %.1f %% of the owners are logged out", name, 100*got)
		}
		for _, thief := range []string{"follows", "follows from everywhere", "follows twice", "does not follow"} {
			if got := share(2, owner, thieves[thief], 2); got != 1 {
				t.Errorf("%s: of thieves, each of which %s, %.1f %% are found within two refreshes of the owner, not all", name, thief, 100*got)
			}
		}
	}
}

// TestSimulationsOfTheSameNetwork shows what the rules cannot tell apart: a thief behind the owner's address, with the
// owner's user agent.
func TestSimulationsOfTheSameNetwork(t *testing.T) {
	if got := share(3, owners["one tab"], thieves["from the owner's network, does not follow"], 10); got < 0.99 {
		t.Errorf("%.1f %% of those that do not follow are found within ten refreshes", 100*got)
	}
	lossless := func(s *simulation) { s.stores[0] = s.refresh(s.stores[0], s.network) }
	if got := share(4, lossless, thieves["from the owner's network, follows"], refreshes); got > 0.01 {
		t.Errorf("%.1f %% of those that follow are found: better than the guide says", 100*got)
	}
}

// TestSimulationsOfSeparateTabs checks that tabs with separate token stores log each other out, as the guide says.
func TestSimulationsOfSeparateTabs(t *testing.T) {
	tabs := func(s *simulation) {
		for tab := range s.stores {
			s.now = s.now.Add(time.Duration(s.random.IntN(300)) * time.Second)
			s.trade(tab)
		}
	}
	random := rand.New(rand.NewPCG(5, 5))
	ended := 0
	for range runs {
		s := &simulation{lineageOf: newSession(), random: random, owner: tabs, network: "home", stores: []int64{1, 1}}
		s.play(refreshes, nil)
		if s.ended {
			ended++
		}
	}
	if got := float64(ended) / runs; got < 0.99 {
		t.Errorf("%.1f %% of the sessions end: better than the guide says", 100*got)
	}
}
