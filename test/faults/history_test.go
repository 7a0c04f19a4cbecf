package faults

import (
	"fmt"
	"strings"
	"time"
)

// kind is what an operation does.
type kind int

const (
	signUp kind = iota
	logIn
	read // with the token of a session: the profile, or the session with the profile
	list // asks the store which sessions are active, through the cache
	update
	refresh
	changePassword // ends all sessions, and opens another one
	endOthers      // ends all sessions, and opens another one
	endAll
	logOut // ends one session
	deleteUser
	audit // looks into the database
)

func (k kind) String() string {
	return [...]string{
		"sign up", "log in", "read", "list sessions", "update", "refresh", "change the password", "log out elsewhere",
		"log out everywhere", "log out", "delete", "DATABASE",
	}[k]
}

// outcome is what a worker knows of an operation.
type outcome int

const (
	accepted outcome = iota
	refused          // it was not done, and the reason says why
	unknown          // it may have been done, may be done later, or never
)

// operation is one call of a worker, and what came of it. Times are since the run began.
type operation struct {
	worker     int
	via        string // transport and gateway
	call, done time.Duration
	kind       kind

	session          string // id of the session whose token is presented
	target           string // id of the session that is opened, or logged out of; of the new one, if others end
	value            string // name that is written; unique
	wantVersion      int64  // of an update that is for one version only
	password, change string // the one presented or set, and the one that it is changed to; unique

	outcome outcome
	reason  string // of a refusal, and why the outcome is unknown
	seen    seen   // what an answer showed
}

// seen is a user as an answer or the database shows it.
type seen struct {
	id      string
	version int64
	value   string
	gone    bool // only the database says so: there is no such account, or no longer

	listed   bool   // whether sessions says which stand
	sessions string // ids of those that stand, with a space behind each
}

// writes reports whether the operation changes something that others can see.
func (o *operation) writes() bool {
	switch o.kind {
	case read, list, refresh, logIn, audit:
		return false
	default:
		return true
	}
}

func (o *operation) String() string {
	var line strings.Builder
	fmt.Fprintf(&line, "%9.3f –%9.3f  w%d %-14s %s", o.call.Seconds(), o.done.Seconds(), o.worker, o.via, o.kind)
	for name, text := range map[string]string{"with": short(o.session), "of": short(o.target), "name": o.value} {
		if text != "" {
			fmt.Fprintf(&line, " %s %s", name, text)
		}
	}
	if o.wantVersion != 0 {
		fmt.Fprintf(&line, " if version %d", o.wantVersion)
	}
	if o.password != "" {
		fmt.Fprintf(&line, " password %s", o.password)
	}
	if o.change != "" {
		fmt.Fprintf(&line, " to %s", o.change)
	}
	switch {
	case o.outcome == refused:
		fmt.Fprintf(&line, " → REFUSED %s", o.reason)
	case o.outcome == unknown:
		fmt.Fprintf(&line, " → unknown (%s)", o.reason)
	case o.seen.listed && !o.seen.gone && o.seen.version == 0:
		for id := range strings.FieldsSeq(o.seen.sessions) {
			line.WriteString(" " + short(id))
		}
	case o.seen.gone:
		line.WriteString(" → there is none")
	case o.seen.version != 0:
		fmt.Fprintf(&line, " → version %d, name %s", o.seen.version, o.seen.value)
	default:
		line.WriteString(" → ok")
	}
	return line.String()
}

// short is the end of an id: the beginning of a UUIDv7 is the time.
func short(id string) string {
	if len(id) < 6 {
		return id
	}
	return "…" + id[len(id)-6:]
}
