package faults

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// part is what an operation does to one of the two registers that histories are checked against. One operation may do
// several, each at a moment of its own between call and answer: a caller is admitted before what it asks for is done.
type part int

const (
	does    part = iota // what it is for
	uses                // its session stood
	shut                // its session had ended
	missing             // its session did not stand: it had ended, or was not there yet
	over                // the history is: what is unknown and was not seen until now no longer matters
)

// event is one part of an operation.
type event struct {
	*operation

	part part
}

// never is when an operation returns whose outcome is unknown.
const never = time.Duration(math.MaxInt64)

// facts are what the answers of a whole history tell. They are implied by the rules, and spare the search from trying
// each unknown write at each place: versions are dense, so that there is mostly one place where it can have been.
type facts struct {
	names map[int64]string // what each version that was seen held
	taken map[int64]bool   // versions that acknowledged writes made
	first map[string]int64 // the lowest version that each name was seen in
	last  int64            // the version in the end
	there bool             // the account was there in the end
}

func factsOf(events []event) facts {
	f := facts{names: map[int64]string{}, taken: map[int64]bool{}, first: map[string]int64{}, last: math.MaxInt64}
	for _, e := range events {
		if e.outcome != accepted || e.part != does {
			continue
		}
		if e.kind == audit {
			f.last, f.there = e.seen.version, !e.seen.gone
		}
		if e.seen.version == 0 || e.seen.gone {
			continue
		}
		f.names[e.seen.version] = e.seen.value
		if before, known := f.first[e.seen.value]; !known || e.seen.version < before {
			f.first[e.seen.value] = e.seen.version
		}
		if e.writes() {
			f.taken[e.seen.version] = true
		}
	}
	return f
}

// mayMake reports whether an operation of unknown outcome can have made the version, which then held the name.
func (f facts) mayMake(version int64, name string, o *operation) bool {
	if version > f.last || f.taken[version] {
		return false
	}
	if seen, known := f.names[version]; known && seen != name {
		return false
	}
	first, known := f.first[name]
	return o.kind != update || !known || version <= first
}

// account is the register that an account's profile is: what exists of it.
type account struct {
	made, gone, closed bool
	id                 string // empty while nobody was told
	version            int64
	name, password     string
}

// stepAccount reports whether the event may have had its outcome when the account was a, and what the account is
// afterwards.
func (f facts) stepAccount(a account, e event) (bool, account) {
	o, there := e.operation, a.made && !a.gone
	switch {
	case a.closed:
		return o.outcome == unknown, a
	case e.part == over:
		a.closed = true
		return true, a
	}
	switch o.kind {
	case signUp:
		return stepSignUp(a, o)
	case logIn:
		return (there && a.password == o.password) == (o.outcome == accepted), a
	case read:
		return a.shows(o.seen)
	case update:
		return f.stepWrite(a, o, o.wantVersion == 0 || o.wantVersion == a.version)
	case endOthers, endAll:
		return f.stepWrite(a, o, true)
	case changePassword:
		return f.stepWrite(a, o, a.password == o.password)
	case deleteUser:
		a.gone = true
		a.version++
		return there && (o.outcome == accepted || !f.there), a
	case audit:
		return stepAudit(a, o)
	default:
		return true, a
	}
}

// stepWrite is of an operation that makes the next version, if what it names matches what is there.
func (f facts) stepWrite(a account, o *operation, matches bool) (bool, account) {
	there, b := a.made && !a.gone, a.after(o)
	switch o.outcome {
	case accepted:
		shown, _ := b.shows(o.seen)
		return there && matches && shown, b
	case unknown:
		return there && matches && f.mayMake(b.version, b.name, o), b
	default:
		return there && !matches, a
	}
}

func stepAudit(a account, o *operation) (bool, account) {
	matches, b := a.shows(o.seen)
	if o.seen.gone {
		matches = (!a.made || a.gone) && o.seen.version == a.version
	}
	b.closed = true
	return matches, b
}

func stepSignUp(a account, o *operation) (bool, account) {
	if o.outcome == refused {
		return a.made && !a.gone, a
	}
	b := account{made: true, id: o.seen.id, version: 1, name: o.value, password: o.password}
	return !a.made && (o.outcome == unknown || o.seen.version == 1 && o.seen.value == o.value), b
}

// shows reports whether the account is what an answer showed, and who it is from then on.
func (a account) shows(s seen) (bool, account) {
	if !a.made || a.gone || a.version != s.version || a.name != s.value || a.id != "" && a.id != s.id {
		return false, a
	}
	a.id = s.id
	return true, a
}

// after is the account when the operation has been done.
func (a account) after(o *operation) account {
	a.version++
	if o.kind == update {
		a.name = o.value
	}
	if o.kind == changePassword {
		a.password = o.change
	}
	return a
}

// session is the register that a session is, with what decides whether it can be opened.
type session struct {
	open, ended, gone, closed bool
	password                  string // until the session is open
}

// stepSession is as stepAccount, for the session with this id.
func (f facts) stepSession(id string, s session, e event) (bool, session) {
	if s.closed {
		return e.outcome == unknown, s
	}
	stands := s.open && !s.ended
	switch e.part {
	case uses:
		return stands, s
	case shut:
		return s.open && s.ended, s
	case missing:
		return !stands, s
	case over:
		s.closed = true
		return true, s
	default:
	}
	after := s.after(id, e.operation)
	changes := e.outcome == accepted || after != s // What is unknown and changes nothing is over when it is over.
	switch e.kind {
	case logIn:
		return !s.open && !s.gone && s.password == e.password, after
	case endOthers:
		return !s.gone && changes && (e.target != id || !s.open), after
	case signUp:
		return s.password == "" && !s.gone, after
	case changePassword:
		return !s.gone && changes && (s.open || s.password == e.password), after
	case deleteUser:
		return !s.gone && (e.outcome == accepted || !f.there), after
	default:
		return changes, after
	}
}

func (s session) after(id string, o *operation) session {
	end := false
	switch o.kind {
	case signUp:
		s.password = o.password
	case logIn:
		s.open, s.password = true, "" // It has done what it is for.
	case changePassword, endOthers:
		end = o.target != id
		switch {
		case !end:
			s.open, s.password = true, ""
		case o.kind == changePassword && !s.open:
			s.password = o.change
		}
	case endAll:
		end = true
	case logOut, refresh: // A refresh that comes late, after others, is taken for theft.
		end = o.target == id
	case deleteUser:
		s.gone, end = true, true
	default:
	}
	s.ended = s.ended || s.open && end
	return s
}

// ends reports whether the event is the end of the session, if it was open.
func (e event) ends(id string) bool {
	return e.part == does && session{open: true}.after(id, e.operation).ended
}

// accountEvents are the parts of operations that are about the profile. Without what is passed on, log-ins are left
// out.
func accountEvents(operations []*operation, passedOn bool) []event {
	var events []event
	for _, o := range operations {
		if aboutAccount(o) && (passedOn || o.kind != logIn) {
			events = append(events, event{o, does})
		}
	}
	return events
}

func aboutAccount(o *operation) bool {
	switch {
	case o.kind == refresh || o.kind == logOut || o.kind == list:
		return false
	case o.outcome == accepted:
		return true
	case o.outcome == unknown:
		return o.writes()
	default:
		return slices.Contains([]string{"EMAIL_TAKEN", "INVALID_CREDENTIALS", "VERSION_MISMATCH", "PASSWORD_WRONG"}, o.reason)
	}
}

// sessionEvents are the parts of operations that are about the session. Without what is passed on, lists are left out.
func sessionEvents(id string, operations []*operation, passedOn bool) []event {
	var events []event
	for _, o := range operations {
		if p, shows := showsOfSession(id, o); shows && (passedOn || o.kind != list) {
			events = append(events, event{o, p})
		}
		if doesToSession(id, o) {
			events = append(events, event{o, does})
		}
		if o.kind == audit {
			events = append(events, event{o, over})
		}
	}
	return events
}

func showsOfSession(id string, o *operation) (part, bool) {
	switch {
	case o.seen.listed && !strings.Contains(o.seen.sessions, id+" "):
		return missing, true
	case o.seen.listed:
		return uses, true
	case o.session != id:
		return does, false
	case o.outcome == accepted, o.reason == "VERSION_MISMATCH", o.reason == "PASSWORD_WRONG":
		return uses, true
	case o.outcome == refused && o.reason == "SESSION_ENDED":
		return shut, true
	default:
		return does, false
	}
}

func doesToSession(id string, o *operation) bool {
	switch o.kind {
	case logIn:
		return o.outcome == accepted && o.target == id
	case signUp, changePassword, endOthers, endAll, deleteUser:
		return o.outcome != refused
	case logOut:
		return o.outcome != refused && o.target == id
	case refresh:
		return o.target == id && (o.outcome == unknown || o.reason == "REFRESH_TOKEN_REUSED")
	default:
		return false
	}
}

// accountModel is what an account promises, for the checker.
func accountModel(f facts) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return account{} },
		Step: func(state, input, _ any) (bool, any) {
			return f.stepAccount(state.(account), input.(event))
		},
		DescribeOperation: describe,
	}
}

// sessionModel is what a session promises, for the checker.
func sessionModel(id string, f facts) porcupine.Model {
	return porcupine.Model{
		Init:              func() any { return session{} },
		Step:              func(state, input, _ any) (bool, any) { return f.stepSession(id, state.(session), input.(event)) },
		DescribeOperation: describe,
	}
}

func describe(input, _ any) string { return input.(event).String() }
