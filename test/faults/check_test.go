package faults

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTimeout bounds the search for an order of one history. It takes milliseconds; a history that takes longer than
// this was not checked, which is a finding.
const checkTimeout = 30 * time.Second

// explainTimeout bounds the search for an order of a part of a history that is wrong as a whole: it is repeated often,
// and only makes the report shorter.
const explainTimeout = 2 * time.Second

// windows returns for how long before its call the result of an operation may have been outdated: 0 for all that is
// promised to be linearizable, more for reads during a fault that ADR 0006 names among what remains.
type windows func(*operation) time.Duration

func strict(*operation) time.Duration { return 0 }

// finding is a history that no order explains, or an answer that should never be.
type finding struct {
	about   string
	culprit *operation // with its answer the history became wrong
	lines   []string   // what of the history matters, readable
	picture func(path string) error
}

func (f finding) String() string { return f.about + "\n" + strings.Join(f.lines, "\n") }

// rules are by how much what is found may differ from what a single thread would do.
type rules struct {
	stale windows

	// unheard is for how long after the call of a write whose outcome is unknown caches may not know that it was done,
	// though calls that the store answers (a log-in with the new password, a list without the session) show it already.
	// The cache service that made it may wait for an answer that never comes, or have died: nobody acknowledged it.
	unheard time.Duration
}

// excuse returns the window of each operation of a history. No write is excused by more than one that is unknown.
func (r rules) excuse(operations []*operation) windows {
	return func(o *operation) time.Duration {
		longest := r.stale(o)
		for _, w := range operations {
			if w.outcome == unknown && w.writes() && w.call < o.call && o.call-w.call < r.unheard {
				longest = max(longest, o.call-w.call)
			}
		}
		return longest
	}
}

// checkHistory looks for what is wrong in all that was done with one address. Where something unknown excuses reads,
// they are held to all that was acknowledged and to each other besides, without what only the store showed.
func checkHistory(operations []*operation, by rules) []finding {
	findings := checkRegisters(operations, by.excuse(operations), true)
	if len(findings) == 0 && by.unheard > 0 {
		findings = checkRegisters(operations, by.stale, false)
	}
	return findings
}

// checkRegisters checks the account and each session, with or without what calls showed that caches only pass on.
func checkRegisters(operations []*operation, stale windows, passedOn bool) []finding {
	var findings []finding
	if found, wrong := unexpected(operations); wrong {
		findings = append(findings, found)
	}
	profile := history{about: "the profile", stale: stale, events: accountEvents(operations, passedOn)}
	findings = append(findings, profile.check()...)
	for _, id := range sessionsOf(operations) {
		session := history{
			about: "session " + short(id), session: id, stale: stale, events: sessionEvents(id, operations, passedOn),
		}
		findings = append(findings, session.check()...)
	}
	return findings
}

func sessionsOf(operations []*operation) []string {
	var ids []string
	for _, o := range operations {
		opens := o.kind == logIn || o.kind == changePassword || o.kind == endOthers
		if opens && o.outcome == accepted && o.target != "" {
			ids = append(ids, o.target)
		}
	}
	return ids
}

// expected are the refusals that each kind of operation may meet; whether one was right is for the models to say.
var expected = map[kind][]string{
	signUp:         {"EMAIL_TAKEN", "OVERLOADED"},
	logIn:          {"INVALID_CREDENTIALS", "OVERLOADED"},
	read:           {"SESSION_ENDED"},
	list:           {"SESSION_ENDED"},
	update:         {"SESSION_ENDED", "VERSION_MISMATCH", "USER_NOT_FOUND"},
	refresh:        {"SESSION_ENDED", "REFRESH_TOKEN_REUSED"},
	changePassword: {"SESSION_ENDED", "PASSWORD_WRONG", "OVERLOADED"},
	endOthers:      {"SESSION_ENDED"},
	endAll:         {"SESSION_ENDED"},
	logOut:         {"SESSION_ENDED", "SESSION_NOT_FOUND"},
	deleteUser:     {"SESSION_ENDED", "USER_NOT_FOUND"},
}

// unexpected finds refusals that nothing explains.
func unexpected(operations []*operation) (finding, bool) {
	var found finding
	deleted, lost := false, map[string]bool{} // sessions of which a refresh has an unknown outcome
	for _, o := range operations {
		deleted = deleted || o.kind == deleteUser && o.outcome != refused
		if o.kind == refresh && o.outcome == unknown {
			lost[o.session] = true
		}
	}
	for _, o := range operations {
		if o.outcome == accepted || o.outcome == unknown && o.reason != "INTERNAL" {
			continue
		}
		right := slices.Contains(expected[o.kind], o.reason)
		switch o.reason {
		case "REFRESH_TOKEN_REUSED":
			right = right && lost[o.session]
		case "USER_NOT_FOUND", "SESSION_NOT_FOUND":
			right = right && deleted
		}
		if !right {
			found.culprit = o
			found.lines = append(found.lines, o.String())
		}
	}
	found.about = "errors that nothing explains"
	return found, len(found.lines) > 0
}

// history is one register's.
type history struct {
	about   string
	session string // its id, or empty for that of the account
	events  []event
	stale   windows
}

func (h history) model(f facts) porcupine.Model {
	if h.session == "" {
		return accountModel(f)
	}
	return sessionModel(h.session, f)
}

func (h history) check() []finding {
	model := h.model(factsOf(h.events))
	result, info := h.search(model, h.events, checkTimeout)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return []finding{{about: fmt.Sprintf("%s: %d events are too many to find an order of within %v",
			h.about, len(h.events), checkTimeout)}}
	default:
		found := h.explain()
		found.picture = func(path string) error { return porcupine.VisualizePath(model, info, path) }
		return []finding{found}
	}
}

// search looks for an order in which all outcomes are right.
func (h history) search(
	model porcupine.Model, events []event, timeout time.Duration,
) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	return porcupine.CheckOperationsVerbose(model, h.operations(events), timeout)
}

// operations are the events as the checker takes them. What is unknown returns never, and is over once the history is.
func (h history) operations(events []event) []porcupine.Operation {
	last, closed := time.Duration(0), false
	opened, lastUse := h.span(events)
	operations := make([]porcupine.Operation, 0, len(events)+1)
	for _, e := range events {
		closed = closed || e.kind == audit
		made := porcupine.Operation{ClientId: e.worker, Input: e, Call: int64(h.from(e)), Return: int64(e.done)}
		if e.outcome == unknown {
			made.Return = int64(never)
			if h.session != "" && e.ends(h.session) && (e.kind != changePassword || e.call > opened) {
				made.Call = max(made.Call, int64(lastUse))
			}
		} else {
			last = max(last, e.done)
		}
		operations = append(operations, made)
	}
	if !closed {
		end := event{&operation{kind: audit, outcome: unknown}, over}
		operations = append(operations, porcupine.Operation{Input: end, Call: int64(last + 1), Return: int64(last + 1)})
	}
	return operations
}

// from is when the moment of an event can have been at the earliest: its call, or, where a read may be outdated,
// before.
func (h history) from(e event) time.Duration {
	if e.kind == read && e.part != shut { // What has ended never comes back: it is not said of what was.
		return max(0, e.call-h.stale(e.operation))
	}
	return e.call
}

// span is when the session was open at the latest, and when it is known to have stood last, at the earliest. It has not
// ended before: the search need not try whether.
func (h history) span(events []event) (opened, lastUse time.Duration) {
	for _, e := range events {
		switch {
		case e.part == uses:
			lastUse = max(lastUse, h.from(e))
		case e.part == does && e.kind != logOut && e.kind != refresh && e.target == h.session:
			opened = e.done
		}
	}
	return opened, lastUse
}

// wrong reports whether no order explains a part of the history, by what is known of the whole. Without that, what is
// unknown in the part would be too much to search.
func (h history) wrong(events []event) bool {
	known := factsOf(h.events)
	known.taken = factsOf(events).taken // Of two that made one version only the later is wrong.
	result, _ := h.search(h.model(known), events, explainTimeout)
	return result == porcupine.Illegal
}

// explain finds the answer with which the history became wrong, and what has to stand beside it to show that.
func (h history) explain() finding {
	events := slices.Clone(h.events)
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.done, b.done) })
	known := sort.Search(len(events)-1, func(n int) bool { return h.wrong(until(events, n+1)) })
	culprit := events[known]
	shown := until(events, known+1)
	for i, e := range slices.Backward(shown) { // What need not be there to show it is left out.
		if e.operation == culprit.operation || e.makes() {
			continue
		}
		if fewer := slices.Delete(slices.Clone(shown), i, i+1); h.wrong(fewer) {
			shown = fewer
		}
	}
	return finding{about: h.about, culprit: culprit.operation, lines: h.print(shown, culprit.operation)}
}

// makes reports whether the event may change the register, so that others cannot be judged without it.
func (e event) makes() bool {
	return e.part == does && e.outcome != refused && (e.writes() || e.kind == logIn || e.kind == refresh)
}

// until is the history as it was known when n answers had come: what came later is unknown.
func until(events []event, n int) []event {
	known := slices.Clone(events[:n])
	for _, e := range events[n:] {
		if e.makes() && e.kind != logIn && e.call <= events[n-1].done {
			later := *e.operation
			later.outcome, later.reason, later.seen = unknown, "not answered yet", seen{}
			known = append(known, event{&later, does})
		}
	}
	return known
}

// before is how much of a history before what is wrong in it is printed.
const before = 5 * time.Second

// maxLines bounds a printed history.
const maxLines = 40

func (h history) print(events []event, culprit *operation) []string {
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.call, b.call) })
	var lines []string
	left := 0
	for i, e := range events {
		if i > 0 && events[i-1].operation == e.operation {
			continue
		}
		if e.operation != culprit && (e.call < culprit.call-before || e.call > culprit.done) {
			left++
			continue
		}
		line := e.String()
		if stale := h.stale(e.operation); stale > 0 && e.kind == read {
			line += fmt.Sprintf(" (may be outdated by %v)", stale)
		}
		if e.operation == culprit {
			line += "   ← no order explains this"
		}
		lines = append(lines, line)
	}
	if over := len(lines) - maxLines; over > 0 {
		lines, left = lines[over:], left+over
	}
	return append(lines, fmt.Sprintf("(%d operations that change something are not shown)", left))
}
