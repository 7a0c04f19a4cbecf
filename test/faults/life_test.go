//go:build long

package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
)

// stage is how far a life has come.
type stage int

const (
	unborn  stage = iota // nobody has signed up with the address, or is known to have
	living               // somebody knows a password
	dying                // it is being deleted
	dead                 // it was deleted, or may have been: its tokens are tried a few times more
	retired              // nobody uses it
)

const (
	// longLife is after how many operations an account is deleted, mostly. A history stays short enough to be checked, and
	// deletions happen.
	longLife = 120

	// afterlife is how many operations tokens of a deleted account are tried for.
	afterlife = 12

	// maxSessions bounds how many sessions of an account stand at once, as far as is known.
	maxSessions = 5
)

// life is all that is done with one address, by a small group of workers.
type life struct {
	address string
	length  int // after how many operations it is deleted

	mu         sync.Mutex
	stage      stage
	underWay   int // operations
	contenders int // sign-ups under way
	signUps    int // sign-ups that have begun
	passwords  []string
	sessions   []*token
	operations []*operation
	id         string
	version    int64 // the last that was seen
	after      int   // operations since the deletion
}

// token is what a worker holds of a session.
type token struct {
	id, access string
	ended      bool // as far as is known: acknowledged, or told by a refusal

	refreshing sync.Mutex // one refreshes at a time, as one client would
	refresh    string
}

// record stores what came of an operation.
func (l *life) record(o *operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.operations = append(l.operations, o)
	if o.outcome == accepted && o.seen.version > 0 {
		l.id = o.seen.id
		l.version = max(l.version, o.seen.version)
	}
	for _, token := range l.sessions {
		token.ended = token.ended || o.outcome == refused && o.reason == "SESSION_ENDED" && o.session == token.id ||
			o.outcome == accepted && session{open: true}.after(token.id, o).ended
	}
	if l.stage == dead {
		if l.after++; l.after >= afterlife {
			l.stage = retired
		}
	}
}

// active returns an active session, as far as is known, or nil.
func (l *life) active(random *rand.Rand) *token { return l.pick(random, false) }

// over returns a session that has ended, or nil.
func (l *life) over(random *rand.Rand) *token { return l.pick(random, true) }

func (l *life) pick(random *rand.Rand, ended bool) *token {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fit []*token
	for _, token := range l.sessions {
		if token.ended == ended {
			fit = append(fit, token)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[random.IntN(len(fit))]
}

func (l *life) activeCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, token := range l.sessions {
		if !token.ended {
			n++
		}
	}
	return n
}

// password is the one that is most likely the present one.
func (l *life) password() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passwords[0]
}

// learn records whether a password was right: the right one goes to the front, a wrong one to the end.
func (l *life) learn(password string, right bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passwords = slices.DeleteFunc(l.passwords, func(p string) bool { return p == password })
	if right {
		l.passwords = slices.Insert(l.passwords, 0, password)
	} else {
		l.passwords = append(l.passwords, password)
	}
}

// contend reports whether another may sign up with the address.
func (l *life) contend() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage != unborn || l.signUps >= maxContenders {
		return false
	}
	l.contenders++
	l.signUps++
	return true
}

// contended records the outcome of a sign-up. If nobody knows a password in the end, the address is left alone.
func (l *life) contended(o *operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.contenders--
	if o.outcome == accepted {
		l.passwords = append(l.passwords, o.password)
	}
	switch {
	case o.outcome == accepted || len(l.sessions) > 0:
		l.stage = max(l.stage, living)
	case l.contenders == 0 && l.stage == unborn:
		l.stage = retired
	}
}

// opened stores a new session.
func (l *life) opened(t *token) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions = append(l.sessions, t)
}

// access is the present access token of the session.
func (l *life) access(t *token) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.access
}

// renewed stores a new access token of the session.
func (l *life) renewed(t *token, access string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.access = access
}

func (l *life) lastVersion() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

// enter reports what is to be done with the life, and counts its users until leave.
func (l *life) enter() stage {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == living && len(l.operations) >= l.length {
		l.stage = dying
		l.underWay++
		return dying
	}
	if l.stage == dying {
		return retired // Somebody else is at it.
	}
	if l.stage != retired {
		l.underWay++
	}
	return l.stage
}

func (l *life) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay--
}

// become moves the life on. It never goes back.
func (l *life) become(s stage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stage = max(l.stage, s)
}

// finished reports whether nothing more will be added.
func (l *life) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stage == retired && l.underWay == 0
}

// slot is a place for lives, one after the other.
type slot struct {
	number     int
	lifeLength int

	mu       sync.Mutex
	present  *life
	lives    int
	finished []*life
}

// life returns the present life, and begins another if that is over.
func (s *slot) life() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.present != nil && !s.present.finished() {
		return s.present
	}
	if s.present != nil {
		s.finished = append(s.finished, s.present)
	}
	s.lives++
	s.present = &life{address: fmt.Sprintf("u%d.%d@example.com", s.number, s.lives), length: s.lifeLength}
	return s.present
}

// take returns the lives that are over, once each, and with them the present one if all is.
func (s *slot) take(all bool) []*life {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.finished
	s.finished = nil
	if all && s.present != nil {
		taken = append(taken, s.present)
		s.present = nil
	}
	return taken
}
