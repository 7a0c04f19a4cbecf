package refresh

import (
	"testing"
	"time"
)

const grace = 30 * time.Second

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return begin.Add(d) }

func trades(list ...Trade) (t Trades) {
	copy(t[:], list)
	return t
}

func TestPresent(t *testing.T) {
	// 4 was traded for 5, 5 for 7 and 8, of which 7 is a sibling that still stands; 6 was voided by 5.
	forked := Lineage{Current: 8, First: 7, Parent: 5, RotateTime: begin, Trades: trades(Trade{4, at(-10 * time.Second)})}
	repeated, tired, refused := forked, forked, forked
	repeated.Repeats, tired.Repeats, refused.Refused = 1, MaxRepeats, true
	reissued := func(after time.Duration) Lineage {
		next := forked
		next.Current, next.RotateTime = 9, at(after)
		return next
	}
	late := func(after time.Duration) Lineage { // The oldest sibling lapses.
		next := reissued(after)
		next.First = 8
		return next
	}
	parent := Trade{5, begin}
	for _, test := range []struct {
		name    string
		lineage Lineage
		number  int64
		same    bool
		after   time.Duration
		grace   time.Duration
		outcome Outcome
		want    Lineage
	}{
		{
			"the first", NewLineage(begin), 1, true, time.Hour, grace, Rotated,
			Lineage{Current: 2, First: 2, Parent: 1, RotateTime: at(time.Hour)},
		},
		{
			"the current at once", forked, 8, true, 0, grace, Rotated,
			Lineage{Current: 9, First: 9, Parent: 8, RotateTime: begin, Trades: trades(parent, forked.Trades[0])},
		},
		{
			"the current when the grace of some is over", forked, 8, false, 25 * time.Second, grace, Rotated,
			Lineage{Current: 9, First: 9, Parent: 8, RotateTime: at(25 * time.Second), Trades: trades(parent)},
		},
		{
			"the current late", forked, 8, false, time.Hour, grace, Rotated,
			Lineage{Current: 9, First: 9, Parent: 8, RotateTime: at(time.Hour)},
		},
		{
			"a sibling", forked, 7, false, time.Hour, grace, Rotated,
			Lineage{Current: 9, First: 9, Parent: 7, RotateTime: at(time.Hour)},
		},
		{
			"a sibling that has lapsed",
			Lineage{Current: 15, First: 7, Parent: 5, RotateTime: begin},
			7, true, 0, grace,
			Reused,
			Lineage{Current: 15, First: 7, Parent: 5, RotateTime: begin},
		},
		{
			"the oldest sibling that has not",
			Lineage{Current: 15, First: 7, Parent: 5, RotateTime: begin},
			8, true, time.Hour,
			grace, Rotated,
			Lineage{Current: 16, First: 16, Parent: 8, RotateTime: at(time.Hour)},
		},
		{"the parent at once", forked, 5, true, 0, grace, Repeated, repeated},
		{"the parent at the end of the grace", forked, 5, true, grace - 1, grace, Repeated, repeated},
		{"the parent by a clock that is behind", forked, 5, true, -time.Minute, grace, Repeated, repeated},
		{"the parent from another client", forked, 5, false, 0, grace, Reissued, reissued(0)},
		{"the parent too often", tired, 5, true, 0, grace, Reissued, reissued(0)},
		{"the parent after the grace", forked, 5, true, grace, grace, Reissued, late(grace)},
		{"the parent without a grace", forked, 5, true, 0, 0, Reissued, late(0)},
		{"the parent without a grace by a clock that is behind", forked, 5, true, -time.Second, 0, Reissued, late(-time.Second)},
		{"an ancestor within the grace of its trade", forked, 4, true, 19 * time.Second, grace, Repeated, repeated},
		{"an ancestor from another client", forked, 4, false, 19 * time.Second, grace, Refused, refused},
		{"an ancestor too often", tired, 4, true, 0, grace, Refused, func() Lineage { l := tired; l.Refused = true; return l }()},
		{"an ancestor after the grace", forked, 4, true, 20 * time.Second, grace, Reused, forked},
		{"one that was voided", forked, 6, true, 0, grace, Reused, forked},
		{"one of long ago", forked, 3, true, 0, grace, Reused, forked},
		{"one that was never given out", forked, 9, true, 0, grace, Reused, forked},
		{"no parent", NewLineage(begin), 0, true, 0, grace, Reused, NewLineage(begin)},
		{"less than nothing", forked, -1, true, 0, grace, Reused, forked},
	} {
		got, outcome := test.lineage.Present(test.number, test.same, begin.Add(test.after), test.grace)
		if got != test.want || outcome != test.outcome {
			t.Errorf("%s: %+v, %d; want %+v, %d", test.name, got, outcome, test.want, test.outcome)
		}
	}
}

// A version that knew no siblings writes Current, Parent and RotateTime, and leaves the rest as it was. A copy of the
// parent that is presented while the owner pauses gets one access token. A client that returns for another makes the
// owner's token lapse, and so is found when the owner refreshes, even if it never presents what it got.
func TestPresentRepeatedly(t *testing.T) {
	for times, want := range map[int]Outcome{1: Rotated, 2: Reused, 3: Reused} {
		session := newSession()
		held := session.refresh(1, "owner")
		for range times {
			session.now = session.now.Add(14 * time.Minute)
			if session.refresh(1, "elsewhere") == 0 {
				t.Fatalf("the copy is refused")
			}
		}
		if _, outcome := session.Present(held, false, session.now.Add(time.Hour), grace); outcome != want {
			t.Errorf("after %d uses of the copy the owner's refresh is %d, want %d", times, outcome, want)
		}
	}
}

func TestPresentAfterOlderVersion(t *testing.T) {
	for _, test := range []struct {
		name    string
		lineage Lineage
		outcome map[int64]Outcome
	}{
		{"its own row", Lineage{Current: 7, Parent: 5}, map[int64]Outcome{7: Rotated, 6: Reused, 5: Reissued, 4: Reused}},
		{"a row that it went on with", Lineage{Current: 7, First: 5, Parent: 6}, map[int64]Outcome{7: Rotated, 6: Reissued, 5: Reused}},
	} {
		for number, want := range test.outcome {
			test.lineage.RotateTime = begin
			if _, outcome := test.lineage.Present(number, false, begin, grace); outcome != want {
				t.Errorf("%s, token %d: %d, want %d", test.name, number, outcome, want)
			}
		}
	}
}

func TestTradesBound(t *testing.T) {
	lineage := NewLineage(begin)
	for range 2 * MaxTrades {
		lineage, _ = lineage.Present(lineage.Current, true, begin, grace)
	}
	oldest := lineage.Parent - MaxTrades
	for number, want := range map[int64]Outcome{oldest: Repeated, oldest - 1: Reused} {
		if _, outcome := lineage.Present(number, true, begin, grace); outcome != want {
			t.Errorf("token %d of %d: %d, want %d", number, lineage.Current, outcome, want)
		}
	}
}

// owner is one person with one store for the refresh token, as the tabs of a browser have it.
type owner struct {
	*lineageOf

	holds   int64
	network string
	sent    []request // what may still be on its way
}

type request struct {
	number int64
	client string
	at     time.Time
}

// lineageOf is a session as the store keeps it.
type lineageOf struct {
	Lineage

	client string // that the current token was given to
	ended  bool
	now    time.Time
}

func newSession() *lineageOf { return &lineageOf{Lineage: NewLineage(begin), now: begin} }

// refresh presents a token, and returns the token of the answer; 0 if it was refused.
func (s *lineageOf) refresh(number int64, client string) int64 {
	if s.ended {
		return 0
	}
	next, outcome := s.Present(number, client == s.client, s.now, grace)
	s.Lineage = next
	switch outcome {
	case Rotated, Reissued:
		s.client = client
	case Reused:
		s.ended = true
		return 0
	case Refused:
		return 0
	case Repeated:
	}
	return s.Current
}

func (o *owner) send(network string) int64 {
	o.sent = append(o.sent, request{o.holds, network, o.now})
	return o.refresh(o.holds, network)
}

// ownerMoves is what a store of tokens with one or two tabs, on one or two networks, can go through.
var ownerMoves = map[byte]func(*owner) (fault string){
	'r': func(o *owner) string { // refreshes
		o.holds = o.send(o.network)
		return ""
	},
	'l': func(o *owner) string { // refreshes, and the answer is lost
		o.send(o.network)
		return ""
	},
	't': func(o *owner) string { // two tabs refresh at once
		first, second := o.send(o.network), o.send(o.network)
		if o.holds = second; first != second {
			return "the tabs hold different tokens"
		}
		return ""
	},
	'x': func(o *owner) string { // two tabs refresh at once over two networks, and the first answer comes last
		first := o.send("wifi")
		o.send("mobile")
		o.holds = first
		return ""
	},
	'y': func(o *owner) string { // the same, and the second answer comes last
		o.send("wifi")
		o.holds = o.send("mobile")
		return ""
	},
	'n': func(o *owner) string { // changes the network
		o.network = map[string]string{"wifi": "mobile", "mobile": "wifi"}[o.network]
		return ""
	},
	'd': func(o *owner) string { // copies of all requests of the last seconds arrive, and nobody waits for their answers
		for _, late := range o.sent {
			if o.now.Sub(late.at) < grace {
				o.refresh(late.number, late.client)
			}
		}
		o.sent = nil
		return ""
	},
	'w': func(o *owner) string { // waits
		o.now = o.now.Add(grace)
		return ""
	},
}

// TestPresentOwnerAlone simulates every order of the moves and checks that no owner is logged out.
func TestPresentOwnerAlone(t *testing.T) {
	const depth = 6
	names := "rltxyndw"
	orders := 1
	for range depth {
		orders *= len(names)
	}
	for order := range orders {
		person := owner{lineageOf: newSession(), holds: 1, network: "wifi"}
		played := ""
		for rest, step := order, 0; step < depth; rest, step = rest/len(names), step+1 {
			move := names[rest%len(names)]
			played += string(move)
			person.now = person.now.Add(time.Second)
			if fault := ownerMoves[move](&person); fault != "" || person.ended || person.holds == 0 {
				t.Fatalf("%s: %s with %+v, holding %d", played, fault, person.Lineage, person.holds)
			}
		}
	}
}
