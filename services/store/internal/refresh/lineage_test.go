package refresh

import (
	"testing"
	"time"
)

const grace = 30 * time.Second

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestPresent(t *testing.T) {
	rotated := Lineage{Current: 7, Parent: 5, RotateTime: begin} // 6 was lost and replaced.
	for _, test := range []struct {
		name    string
		lineage Lineage
		number  int64
		after   time.Duration
		grace   time.Duration
		outcome Outcome
		want    Lineage
	}{
		{"the first", NewLineage(begin), 1, time.Hour, grace, Rotated, Lineage{2, 1, begin.Add(time.Hour)}},
		{"the current at once", rotated, 7, 0, grace, Rotated, Lineage{8, 7, begin}},
		{"the current late", rotated, 7, time.Hour, grace, Rotated, Lineage{8, 7, begin.Add(time.Hour)}},
		{"the parent at once", rotated, 5, 0, grace, Repeated, rotated},
		{"the parent at the end of the grace", rotated, 5, grace - 1, grace, Repeated, rotated},
		{"the parent after the grace", rotated, 5, grace, grace, Reissued, Lineage{8, 5, begin.Add(grace)}},
		{"the parent without a grace", rotated, 5, 0, 0, Reissued, Lineage{8, 5, begin}},
		{"the parent by a clock that is behind", rotated, 5, -time.Minute, grace, Repeated, rotated},
		{"the one that was lost", rotated, 6, 0, grace, Reused, rotated},
		{"the grandparent", rotated, 4, 0, grace, Reused, rotated},
		{"one that was never given out", rotated, 8, 0, grace, Reused, rotated},
		{"no parent", NewLineage(begin), 0, 0, grace, Reused, NewLineage(begin)},
		{"less than nothing", rotated, -1, 0, grace, Reused, rotated},
	} {
		got, outcome := test.lineage.Present(test.number, begin.Add(test.after), test.grace)
		if got != test.want || outcome != test.outcome {
			t.Errorf("%s: %+v, %d; want %+v, %d", test.name, got, outcome, test.want, test.outcome)
		}
	}
}

// TestAnOwnerAloneIsNeverLoggedOut plays every order in which an owner with two tabs loses answers, waits and retries.
// Each tab keeps the token that it got last, as a browser does with one storage for both.
func TestAnOwnerAloneIsNeverLoggedOut(t *testing.T) {
	const depth = 9
	moves := []func(*Lineage, *int64, *time.Time) Outcome{
		func(l *Lineage, mine *int64, now *time.Time) Outcome { // refreshes
			next, outcome := l.Present(*mine, *now, grace)
			*l, *mine = next, next.Current
			return outcome
		},
		func(l *Lineage, mine *int64, now *time.Time) Outcome { // refreshes, and the answer is lost
			next, outcome := l.Present(*mine, *now, grace)
			*l = next
			return outcome
		},
		func(l *Lineage, mine *int64, now *time.Time) Outcome { // two tabs refresh with the same token at once
			next, first := l.Present(*mine, *now, grace)
			last, second := next.Present(*mine, *now, grace)
			*l, *mine = last, last.Current
			if next.Current != last.Current || first == Reused {
				return Reused // The tabs hold different tokens.
			}
			return second
		},
		func(_ *Lineage, _ *int64, now *time.Time) Outcome { // waits
			*now = now.Add(grace)
			return Repeated
		},
	}
	orders := 1
	for range depth {
		orders *= len(moves)
	}
	for order := range orders {
		lineage, mine, now := NewLineage(begin), int64(1), begin
		for rest, step := order, 0; step < depth; rest, step = rest/len(moves), step+1 {
			if moves[rest%len(moves)](&lineage, &mine, &now) == Reused {
				t.Fatalf("order %d ends at step %d with %+v, holding %d", order, step, lineage, mine)
			}
		}
	}
}
