package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The histories that the checker must tell apart are written as they would be told: who called when, and what came of
// it. Ada's sessions are s1 and s2; times are in milliseconds.

func at(call, done int, k kind, change func(*operation)) *operation {
	o := &operation{
		call: time.Duration(call) * time.Millisecond, done: time.Duration(done) * time.Millisecond, kind: k, session: "s1",
	}
	if change != nil {
		change(o)
	}
	return o
}

func sees(version int64, value string) seen { return seen{id: "ada", version: version, value: value} }

func lost(o *operation) *operation {
	o.outcome, o.reason, o.seen = unknown, "UNAVAILABLE", seen{}
	return o
}

func refusal(o *operation, reason string) *operation {
	o.outcome, o.reason, o.seen = refused, reason, seen{}
	return o
}

func signsUp(call, done int) *operation {
	return at(call, done, signUp, func(o *operation) { o.session, o.value, o.password, o.seen = "", "n1", "p1", sees(1, "n1") })
}

func logsIn(call, done int, id, password string) *operation {
	return at(call, done, logIn, func(o *operation) { o.session, o.target, o.password = "", id, password })
}

func reads(call, done int, id string, version int64, value string) *operation {
	return at(call, done, read, func(o *operation) { o.session, o.seen = id, sees(version, value) })
}

func updates(call, done int, value string, version int64) *operation {
	return at(call, done, update, func(o *operation) { o.value, o.seen = value, sees(version, value) })
}

func updatesIf(call, done int, value string, want int64) *operation {
	return at(call, done, update, func(o *operation) { o.value, o.wantVersion, o.seen = value, want, sees(want+1, value) })
}

func changes(call, done int, from, to string, version int64, name string) *operation {
	return at(call, done, changePassword, func(o *operation) { o.password, o.change, o.seen = from, to, sees(version, name) })
}

func logsOut(call, done int, with, of string) *operation {
	return at(call, done, logOut, func(o *operation) { o.session, o.target = with, of })
}

func endsAll(call, done int, version int64, name string) *operation {
	return at(call, done, endAll, func(o *operation) { o.seen = sees(version, name) })
}

func refreshes(call, done int) *operation {
	return at(call, done, refresh, func(o *operation) { o.target = "s1" })
}

func lists(call, done int, id, ids string) *operation {
	return at(call, done, list, func(o *operation) { o.session, o.seen = id, seen{listed: true, sessions: ids} })
}

func deletes(call, done int) *operation { return at(call, done, deleteUser, nil) }

func finds(call int, s seen) *operation {
	return at(call, call+1, audit, func(o *operation) { o.session, o.seen = "", s })
}

func findsSessions(call int, s seen, ids string) *operation {
	s.listed, s.sessions = true, ids
	return finds(call, s)
}

// opening is how each history begins.
func opening(then ...*operation) []*operation {
	return append([]*operation{signsUp(0, 10), logsIn(11, 20, "s1", "p1"), logsIn(11, 20, "s2", "p1")}, then...)
}

// bad are histories that break a promise, each in one way, and what the checker must point at.
var bad = map[string]struct {
	history []*operation
	about   string
	culprit int // index into the history
}{
	"a read shows what was before an acknowledged update": {
		opening(updates(30, 40, "n2", 2), reads(41, 42, "s2", 1, "n1")), "the profile", 4,
	},
	"two reads, one after the other, go back in time": {
		opening(updates(30, 90, "n2", 2), reads(40, 42, "s1", 2, "n2"), reads(43, 45, "s2", 1, "n1")), "the profile", 5,
	},
	"a read shows what nobody wrote": {opening(reads(30, 31, "s1", 1, "n7")), "the profile", 3},
	"a read shows what was refused": {
		opening(refusal(updatesIf(30, 31, "n2", 7), "VERSION_MISMATCH"), reads(32, 33, "s1", 2, "n2")), "the profile", 4,
	},
	"a read shows a write that comes later": {
		opening(reads(25, 28, "s1", 2, "n2"), updates(30, 31, "n2", 2)), "the profile", 3,
	},
	"a lost update: two make one version": {
		opening(updates(30, 40, "n2", 2), updates(30, 41, "n3", 2)), "the profile", 4,
	},
	"a lost update: both took the same version": {
		opening(updatesIf(30, 40, "n2", 1), updatesIf(41, 50, "n3", 1)), "the profile", 4,
	},
	"a lost update: it is not in the database": {
		opening(updates(30, 40, "n2", 2), finds(90, sees(1, "n1"))), "the profile", 4,
	},
	"a write of unknown outcome is done twice": {
		opening(lost(updates(30, 40, "n2", 2)), reads(41, 42, "s1", 2, "n2"), reads(43, 44, "s1", 3, "n2")), "the profile", 5,
	},
	"an update is refused for its version, which was there": {
		opening(refusal(updatesIf(30, 40, "n2", 1), "VERSION_MISMATCH")), "the profile", 3,
	},
	"two accounts of one address": {
		opening(at(30, 40, signUp, func(o *operation) {
			o.session, o.value, o.password, o.seen = "", "m1", "q1", seen{id: "eve", version: 1, value: "m1"}
		})), "the profile", 3,
	},
	"the address is taken by nobody": {[]*operation{refusal(signsUp(0, 10), "EMAIL_TAKEN"), finds(90, seen{gone: true})}, "the profile", 0},
	"another's profile": {
		opening(at(30, 31, read, func(o *operation) { o.seen = seen{id: "eve", version: 1, value: "n1"} })), "the profile", 3,
	},
	"an account that is lost":           {opening(finds(90, seen{gone: true})), "the profile", 3},
	"an account that was deleted":       {opening(deletes(30, 40), reads(41, 42, "s2", 1, "n1")), "the profile", 4},
	"a deletion that is not there":      {opening(deletes(30, 40), finds(90, sees(1, "n1"))), "the profile", 4},
	"a right password that is refused":  {opening(refusal(logsIn(30, 40, "", "p1"), "INVALID_CREDENTIALS")), "the profile", 3},
	"a log-in with the password before": {opening(changes(30, 40, "p1", "p2", 2, "n1"), logsIn(41, 50, "s3", "p1")), "the profile", 4},
	"a log-out that is not in the database": {
		opening(logsOut(30, 40, "s1", "s1"), findsSessions(90, sees(1, "n1"), "s1 s2 ")), "session s1", 4,
	},
	"a session that is lost": {opening(findsSessions(90, sees(1, "n1"), "s1 ")), "session s2", 3},
	"a call after an acknowledged log-out": {
		opening(logsOut(30, 40, "s1", "s1"), reads(41, 42, "s1", 1, "n1")), "session s1", 4,
	},
	"a call after a log-out from another session": {
		opening(logsOut(30, 40, "s2", "s1"), reads(41, 42, "s1", 1, "n1")), "session s1", 4,
	},
	"a call after a log-out everywhere": {
		opening(endsAll(30, 40, 2, "n1"), reads(41, 42, "s2", 2, "n1")), "session s2", 4,
	},
	"a call after a change of the password with another session": {
		opening(changes(30, 40, "p1", "p2", 2, "n1"), reads(41, 42, "s2", 2, "n1")), "session s2", 4,
	},
	"a session that comes back after the store has said that it ended": {
		opening(lost(logsOut(30, 40, "s1", "s1")), lists(41, 42, "s2", "s2 "), reads(43, 44, "s1", 1, "n1")), "session s1", 5,
	},
	"a session that is listed after its log-out": {
		opening(logsOut(30, 40, "s1", "s1"), lists(41, 42, "s2", "s1 s2 ")), "session s1", 4,
	},
	"a session that is not listed": {opening(lists(41, 42, "s2", "s2 ")), "session s1", 3},
	"a session that comes back": {
		opening(refusal(reads(30, 31, "s1", 1, "n1"), "SESSION_ENDED"), reads(41, 42, "s1", 1, "n1")), "session s1", 3,
	},
	"a session that ends by itself": {opening(refusal(reads(30, 31, "s1", 1, "n1"), "SESSION_ENDED")), "session s1", 3},
	"a log-in with the old password that outlasts its change": {
		opening(changes(30, 40, "p1", "p2", 2, "n1"), logsIn(35, 50, "s3", "p1"), reads(51, 52, "s3", 2, "n1")), "session s3", 5,
	},
	"a refresh that logs its owner out": {
		opening(refusal(refreshes(30, 31), "REFRESH_TOKEN_REUSED")), "errors", 3,
	},
	"a fault of Gatehouse itself": {
		opening(at(30, 31, read, func(o *operation) { o.outcome, o.reason = unknown, "INTERNAL" })), "errors", 3,
	},
	"a good token that is called invalid": {
		opening(refusal(reads(30, 31, "s1", 1, "n1"), "ACCESS_TOKEN_INVALID")), "errors", 3,
	},
}

// TestChecker tests the checker by histories that are right or wrong.
func TestChecker(t *testing.T) {
	t.Run("catches_bad_histories", testCatchesBadHistories)
	t.Run("passes_good_histories", testPassesGoodHistories)
	t.Run("a_stale_window_excuses_only_reads", testStaleWindow)
	t.Run("what_was_not_acknowledged_may_be_unknown_to_caches", testUnacknowledged)
	t.Run("is_fast_on_many_unknown_outcomes", testUnknownOutcomes)
}

func testCatchesBadHistories(t *testing.T) {
	t.Parallel()
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findings := checkHistory(c.history, rules{stale: strict})
			for _, found := range findings {
				if strings.HasPrefix(found.about, c.about) && found.culprit == c.history[c.culprit] {
					t.Logf("%v", found)
					return
				}
			}
			t.Errorf("found %v, want that %s went wrong with\n%v", findings, c.about, c.history[c.culprit])
		})
	}
}

// good are histories in which nothing is wrong, though much is unknown.
var good = map[string][]*operation{
	"nothing but a sign-up": opening(finds(90, sees(1, "n1"))),
	"a read beside an update shows either": opening(
		updates(30, 60, "n2", 2), reads(40, 41, "s1", 1, "n1"), reads(42, 43, "s2", 2, "n2"), finds(90, sees(2, "n2"))),
	"a lost update that was done": opening(lost(updates(30, 40, "n2", 2)), reads(50, 51, "s1", 2, "n2")),
	"a lost update that was not":  opening(lost(updates(30, 40, "n2", 2)), updates(50, 60, "n3", 2), finds(90, sees(2, "n3"))),
	"a lost update that comes late": opening(lost(updates(30, 40, "n2", 2)), updates(50, 60, "n3", 2), reads(61, 62, "s1", 2, "n3"),
		reads(70, 71, "s2", 3, "n2"), finds(90, sees(3, "n2"))),
	"a lost update that comes after all": opening(lost(updates(30, 40, "n2", 2)), finds(90, sees(1, "n1"))),
	"a lost update that nobody saw":      opening(lost(updates(30, 40, "n2", 2)), updates(50, 60, "n3", 3), finds(90, sees(3, "n3"))),
	"an update for a version that a lost one took": opening(
		lost(updates(30, 40, "n2", 2)), refusal(updatesIf(50, 60, "n3", 1), "VERSION_MISMATCH"), finds(90, sees(2, "n2"))),
	"a lost log-out that was done": opening(
		lost(logsOut(30, 40, "s1", "s1")), refusal(reads(50, 51, "s1", 1, "n1"), "SESSION_ENDED")),
	"a lost log-out that comes late": opening(lost(logsOut(30, 40, "s1", "s1")), reads(50, 51, "s1", 1, "n1"),
		refusal(reads(60, 61, "s1", 1, "n1"), "SESSION_ENDED"), finds(90, sees(1, "n1"))),
	"a lost log-out that was never done": opening(lost(logsOut(30, 40, "s1", "s1")), reads(50, 51, "s1", 1, "n1"), finds(90, sees(1, "n1"))),
	"a list beside a log-out":            opening(logsOut(30, 60, "s1", "s1"), lists(31, 40, "s2", "s1 s2 "), lists(41, 50, "s2", "s2 ")),
	"two log out of one session at once": opening(logsOut(30, 40, "s1", "s1"), logsOut(30, 41, "s1", "s1")),
	"a call that ends after the log-out": opening(logsOut(30, 40, "s1", "s1"), reads(35, 60, "s1", 1, "n1")),
	"a log-out spares the other":         opening(logsOut(30, 40, "s1", "s1"), reads(50, 51, "s2", 1, "n1")),
	"a lost change of the password": opening(lost(changes(30, 40, "p1", "p2", 2, "n1")), logsIn(50, 60, "s3", "p1"),
		logsIn(61, 70, "s4", "p2"), refusal(logsIn(71, 80, "", "p1"), "INVALID_CREDENTIALS"),
		refusal(reads(81, 82, "s3", 2, "n1"), "SESSION_ENDED"), reads(83, 84, "s4", 2, "n1"), finds(90, sees(2, "n1"))),
	"a lost deletion that was done": opening(lost(deletes(30, 40)), refusal(reads(50, 51, "s2", 1, "n1"), "SESSION_ENDED"),
		finds(90, seen{id: "ada", version: 2, gone: true})),
	"a lost deletion that was not": opening(lost(deletes(30, 40)), reads(50, 51, "s2", 1, "n1"), finds(90, sees(1, "n1"))),
	"a lost sign-up that was done": {
		lost(signsUp(0, 10)), logsIn(11, 20, "s1", "p1"), reads(30, 31, "s1", 1, "n1"), finds(90, sees(1, "n1")),
	},
	"a lost sign-up that was not": {lost(signsUp(0, 10)), refusal(logsIn(11, 20, "", "p1"), "INVALID_CREDENTIALS"), finds(90, seen{gone: true})},
	"a late refresh that is taken for theft": opening(lost(refreshes(30, 40)), refreshes(41, 50),
		refusal(reads(60, 61, "s1", 1, "n1"), "SESSION_ENDED")),
}

func testPassesGoodHistories(t *testing.T) {
	t.Parallel()
	for name, history := range good {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if findings := checkHistory(history, rules{stale: strict}); len(findings) > 0 {
				t.Errorf("%v", findings)
			}
		})
	}
}

// testStaleWindow checks that a stale window excuses reads, by so much and no more, and never writes or the database.
func testStaleWindow(t *testing.T) {
	t.Parallel()
	window := func(d time.Duration) rules { return rules{stale: func(*operation) time.Duration { return d }} }
	outdated := opening(updates(30, 40, "n2", 2), logsOut(31, 40, "s2", "s2"), reads(60, 61, "s2", 1, "n1"))
	if found := checkHistory(outdated, window(21*time.Millisecond)); len(found) > 0 {
		t.Errorf("a read that is outdated by no more than the window: %v", found)
	}
	if found := checkHistory(outdated, window(19*time.Millisecond)); len(found) != 2 {
		t.Errorf("a read that is outdated by more than the window, of profile and session: %v", found)
	}
	for name, c := range bad {
		last := c.history[len(c.history)-1]
		if last.kind == read || c.history[c.culprit].kind == read {
			continue
		}
		if len(checkHistory(c.history, window(time.Hour))) == 0 {
			t.Errorf("a window excuses %s", name)
		}
	}
}

// testUnacknowledged checks that an unacknowledged write may be invisible for a while where caches answer, though the
// store shows it. All that was acknowledged must be heard of.
func testUnacknowledged(t *testing.T) {
	t.Parallel()
	for name, history := range map[string][]*operation{
		"a change of the password": opening(lost(changes(30, 40, "p1", "p2", 2, "n1")), logsIn(50, 60, "s3", "p2"), reads(61, 62, "s2", 1, "n1")),
		"a log-out":                opening(lost(logsOut(30, 40, "s1", "s1")), lists(50, 60, "s2", "s2 "), reads(61, 62, "s1", 1, "n1")),
	} {
		if found := checkHistory(history, rules{strict, 32 * time.Millisecond}); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
		if found := checkHistory(history, rules{strict, 31 * time.Millisecond}); len(found) == 0 {
			t.Errorf("%s may be unheard of for too long", name)
		}
	}
	for name, history := range map[string][]*operation{
		"an update":  opening(lost(updates(21, 22, "n9", 0)), updates(30, 40, "n2", 2), reads(41, 42, "s2", 1, "n1")),
		"a log-out":  opening(lost(logsOut(21, 22, "s1", "s2")), logsOut(30, 40, "s1", "s1"), reads(41, 42, "s1", 1, "n1")),
		"a read":     opening(lost(updates(21, 22, "n9", 0)), reads(41, 42, "s2", 2, "n9"), reads(43, 44, "s1", 1, "n1")),
		"a deletion": opening(lost(updates(21, 22, "n9", 0)), deletes(30, 40), reads(41, 42, "s1", 1, "n1")),
	} {
		if found := checkHistory(history, rules{strict, time.Hour}); len(found) == 0 {
			t.Errorf("%s that was acknowledged may be unheard of", name)
		}
	}
}

// testUnknownOutcomes checks that many unknown outcomes in one history do not make the search long: faults make them by
// the dozen.
func testUnknownOutcomes(t *testing.T) {
	t.Parallel()
	history := opening()
	version := int64(1)
	for i := range 100 {
		now := 100 + 20*i
		if i%2 == 0 {
			history = append(history, lost(updates(now, now+5, fmt.Sprintf("lost%d", i), 0)), lost(logsOut(now, now+5, "s1", "s2")),
				lost(changes(now, now+5, "p1", fmt.Sprintf("p%d", i+2), 0, "")), lost(endsAll(now, now+5, 0, "")))
			continue
		}
		version++
		value := fmt.Sprintf("kept%d", i)
		history = append(history, updates(now, now+5, value, version), reads(now+6, now+7, "s2", version, value))
	}
	history = append(history, finds(9000, sees(version, "kept99")))
	if found := checkHistory(history, rules{stale: strict}); len(found) > 0 {
		t.Errorf("%v", found)
	}
	history[len(history)-2].seen.version--
	if found := checkHistory(history, rules{stale: strict}); len(found) != 1 {
		t.Errorf("a stale read at the end: %v", found)
	}
}
