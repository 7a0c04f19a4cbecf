// Package refresh implements the rules of refresh tokens: their format, and the effect on a session when one is
// presented. A lost response never ends a session, and the use of one session by two clients is detected.
package refresh

import "time"

const (
	// MaxRepeats bounds how often one token is given out again: a browser that restores as many tabs gets one successor
	// for all of them. Beyond it, the client is treated as another one.
	MaxRepeats = 16

	// maxSiblings bounds how many successors of one parent are good at the same time. The oldest ones lapse first. After
	// the grace, the newest two are good: the owner's own, and one for a late copy of its request. A client that presents
	// a copy of the parent again and again makes the owner's lapse, which shows at the owner's next refresh.
	maxSiblings = 8

	// MaxTrades bounds how many ancestors a lineage remembers that were traded within the grace.
	MaxTrades = 16
)

// Lineage is the chain of refresh tokens of one session. Each token has a number that is never given out twice.
//
// Mostly a token has one successor. If its answer seems lost, or if it comes from another client than the one that got
// the successor, there is a second one, its sibling. The first of the siblings that is presented continues the chain,
// and voids the others.
type Lineage struct {
	// Current is the newest token, and the highest number that was given out.
	Current int64
	// First is the oldest sibling of Current; 0 where Current has none, or in a row of a version that knew no siblings.
	First int64
	// Parent is the token that was traded for Current and its siblings; 0 if Current is the first of the session.
	Parent int64
	// RotateTime is when Current was made.
	RotateTime time.Time
	// Repeats is how often Current was given out again.
	Repeats int64
	// Refused reports whether an ancestor was refused since Current was made.
	Refused bool
	// Trades are the ancestors, without Parent, that had been traded within the grace when Current was made. The newest
	// comes first.
	Trades Trades
}

// Trade is a token that was traded, and when its last successor was made.
type Trade struct {
	Number int64
	Time   time.Time
}

// Trades is a list of trades that ends with the first zero.
type Trades [MaxTrades]Trade

// NewLineage returns the chain of a new session.
func NewLineage(now time.Time) Lineage { return Lineage{Current: 1, First: 1, RotateTime: now} }

// Outcome is what presenting a token meant.
type Outcome int

// The outcomes.
const (
	// Reused is a token that was traded before, or was voided by a sibling: two clients hold the lineage.
	Reused Outcome = iota
	// Rotated is a token that was good, and was traded for a new one.
	Rotated
	// Repeated is a token that was traded within the grace, from the client that got the current token: a retry, or a
	// second tab. The answer is the current token again.
	Repeated
	// Reissued is the parent of the current token, later than that or from another client. The answer is a new sibling of
	// the current token.
	Reissued
	// Refused is an ancestor that was traded within the grace, from another client than the one that got the current
	// token: a request that was late, or one with a copy. It gets no token, and the session continues.
	Refused
)

// Present applies the rules to a token that is presented, and returns the resulting chain. The caller states
// whether the token comes from the client that the current token was given to. A grace of 0 repeats nothing.
//
// A reissue counts as a rotation: the second tab of an owner who comes back late must get what the first one got.
func (l Lineage) Present(number int64, sameClient bool, now time.Time, grace time.Duration) (Lineage, Outcome) {
	repeats := sameClient && l.Repeats < MaxRepeats
	switch {
	case number <= 0: // Not a number that a token can have; the zero of "no parent" above all.
		return l, Reused
	case l.isValid(number):
		return l.trade(number, now, grace), Rotated
	case number == l.Parent && repeats && recent(l.RotateTime, now, grace):
		return l.repeat(), Repeated
	case number == l.Parent:
		return l.reissue(now, grace), Reissued
	case !l.Trades.within(number, now, grace):
		return l, Reused
	case repeats:
		return l.repeat(), Repeated
	default:
		l.Refused = true
		return l, Refused
	}
}

// Siblings returns how many successors of Parent were given out.
func (l Lineage) Siblings() int64 { return l.Current - l.first() + 1 }

func (l Lineage) first() int64 {
	if l.First == 0 {
		return l.Current
	}
	// A version that knew no siblings may have gone on with the chain.
	return max(l.First, l.Parent+1)
}

// isValid reports whether a token is Current or a sibling that has not lapsed.
func (l Lineage) isValid(number int64) bool {
	return number <= l.Current && number >= max(l.first(), l.Current-maxSiblings+1)
}

func (l Lineage) trade(number int64, now time.Time, grace time.Duration) Lineage {
	next := Lineage{Current: l.Current + 1, First: l.Current + 1, Parent: number, RotateTime: now}
	if l.Parent != 0 {
		next.Trades = l.Trades.add(Trade{Number: l.Parent, Time: l.RotateTime}, now, grace)
	}
	return next
}

func (l Lineage) reissue(now time.Time, grace time.Duration) Lineage {
	l.First = l.first()
	if !recent(l.RotateTime, now, grace) {
		l.First = l.Current
	}
	l.Current++
	l.RotateTime, l.Repeats, l.Refused = now, 0, false
	return l
}

func (l Lineage) repeat() Lineage {
	l.Repeats++
	return l
}

// add returns the trades that are within the grace, with a new one. If there are too many, the oldest is left out.
func (t Trades) add(newest Trade, now time.Time, grace time.Duration) (added Trades) {
	n := 0
	for _, trade := range append([]Trade{newest}, t[:]...) {
		if n < len(added) && trade.Number != 0 && recent(trade.Time, now, grace) {
			added[n] = trade
			n++
		}
	}
	return added
}

// within reports whether a token was traded less than the grace ago.
func (t Trades) within(number int64, now time.Time, grace time.Duration) bool {
	for _, trade := range t {
		if trade.Number == number {
			return recent(trade.Time, now, grace)
		}
	}
	return false
}

// recent reports whether a time is less than the grace ago. A time ahead of a clock that went back is recent, unless
// there is no grace.
func recent(at, now time.Time, grace time.Duration) bool { return grace > 0 && now.Sub(at) < grace }
