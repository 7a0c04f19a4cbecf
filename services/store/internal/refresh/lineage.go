// Package refresh holds the rules of refresh tokens: what one looks like, and what becomes of a session when one is
// presented. A lost answer never logs anybody out, and two who hold one session are found out.
package refresh

import "time"

// Lineage is the chain of refresh tokens of one session. Each token has a number, and the chain remembers two.
type Lineage struct {
	// Current is the token that is good now, and the highest number that was given out. It was never presented:
	// presenting it makes it the parent.
	Current int64
	// Parent is the token that was traded for Current; 0 if Current is the first.
	Parent int64
	// RotateTime is when Current was made.
	RotateTime time.Time
}

// NewLineage begins the chain of a new session.
func NewLineage(now time.Time) Lineage { return Lineage{Current: 1, RotateTime: now} }

// Outcome is what presenting a token meant.
type Outcome int

// The outcomes.
const (
	// Reused is a token that was traded before, or was replaced when its answer seemed lost: two hold the lineage.
	Reused Outcome = iota
	// Rotated is the current token, which was traded for a new one.
	Rotated
	// Repeated is the parent within the grace: a retry, or a second tab. Its answer is the same current token again.
	Repeated
	// Reissued is the parent after the grace while nobody has presented the current token: its answer was lost. A new
	// current token replaces the lost one, which is good for nothing any more but to show a second holder.
	Reissued
)

// Present applies the rules to a token that is presented at a time, and gives the chain as it is afterwards. Within
// grace of a rotation the parent gives the same current token; with a grace of 0 it never does.
//
// A reissue counts as a rotation: the second tab of an owner who comes back late must get what the first one got.
func (l Lineage) Present(number int64, now time.Time, grace time.Duration) (Lineage, Outcome) {
	switch {
	case number <= 0:
		return l, Reused // Not a number that a token can have; the zero of "no parent" above all.
	case number == l.Current:
		return l.next(l.Current, now), Rotated
	case number != l.Parent:
		return l, Reused
	case now.Sub(l.RotateTime) < grace:
		return l, Repeated
	default:
		return l.next(l.Parent, now), Reissued
	}
}

// next gives out a token that succeeds parent.
func (l Lineage) next(parent int64, now time.Time) Lineage {
	return Lineage{Current: l.Current + 1, Parent: parent, RotateTime: now}
}
