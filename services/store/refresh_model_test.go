package store

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
)

// The clients of a game: of two networks.
const (
	owners = "192.0.2.1"
	thiefs = "198.51.100.1"
)

// verdict is what becomes of a token that is presented.
type verdict int

const (
	ended    verdict = iota // the session, by it
	refused                 // and the session goes on
	answered                // with a token
)

// since makes a lineage as old as a game says: no time passes in it but by a pause.
func since(lineage refresh.Lineage, now time.Time, late bool) refresh.Lineage {
	if !late {
		return lineage
	}
	lineage.RotateTime = now.Add(-time.Minute)
	for i := range lineage.Trades {
		if lineage.Trades[i].Number != 0 {
			lineage.Trades[i].Time = lineage.RotateTime
		}
	}
	return lineage
}

// position is where a game stands: what the rules say of it, who holds which token, and what is played with has.
type position struct {
	model        model
	owner, thief string
	lineage      refresh.Lineage
}

type game struct {
	t     *testing.T
	moves int
	// refresh presents a token to a lineage from a client, and tells what becomes of it.
	refresh func(at position, token, client string) (after refresh.Lineage, successor string, got verdict)
}

// play makes every move from a position, and every move after that.
func (g game) play(moves string, at position) {
	if len(moves) == g.moves {
		return
	}
	for _, move := range "oOtTp" { // Owner, thief, pause; in capitals the answer is lost.
		to := at
		switch move {
		case 'o':
			to.owner = g.present(moves+"o", &to, at.owner, owners)
		case 'O':
			g.present(moves+"O", &to, at.owner, owners)
		case 't':
			to.thief = g.present(moves+"t", &to, at.thief, thiefs)
		case 'T':
			g.present(moves+"T", &to, at.thief, thiefs)
		case 'p':
			to.model.late = true
		}
		if !to.model.ended {
			g.play(moves+string(move), to)
		}
	}
}

// present presents a token, wants the answer that the model gives, and returns the token that its holder has then.
func (g game) present(moves string, at *position, token, client string) string {
	lineage, successor, got := g.refresh(*at, token, client)
	if wanted := at.model.present(token, successor, client); wanted != got {
		g.t.Fatalf("%s: by the rules it is %d; it is %d", moves, wanted, got)
	}
	if at.model.fault != "" {
		g.t.Fatalf("%s: %s", moves, at.model.fault)
	}
	at.lineage = lineage
	if got != answered {
		return token
	}
	return successor
}

// refreshAt sets a session of the database to where a game stands before it presents the token.
func (r *refreshes) refreshAt(
	t *testing.T, id string, at position, token, client string,
) (after refresh.Lineage, successor string, got verdict) {
	t.Helper()
	r.put(t, id, since(at.lineage, r.clock.now(), at.model.late), at.model.holder)
	successor, err := r.refreshFrom(t, client, token)
	switch {
	case err == nil:
		return r.sessionOf(t, successor).Lineage, successor, answered
	case wantErrorReason(err, invalid) == nil:
		return r.sessionOf(t, token).Lineage, "", refused
	}
	wantReason(t, err, reused)
	current, _ := r.tokens.Make(id, at.lineage.Current)
	for _, token := range []string{token, current} { // It has ended for everybody, and is told so again.
		_, err := r.refresh(t, token)
		wantReason(t, err, reused)
	}
	return at.lineage, "", ended
}

func (r *refreshes) sessionOf(t *testing.T, token string) account.Session {
	t.Helper()
	id, _, err := r.tokens.Read(token)
	if err != nil {
		t.Fatal(err)
	}
	current, err := r.storage.ReadSession(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return current.Session
}

// put makes a session stand as it did with this lineage, and as if its current token had been given to this address.
func (r *refreshes) put(t *testing.T, id string, lineage refresh.Lineage, address string) {
	t.Helper()
	_, err := r.storage.ChangeSession(t.Context(), id, func(current account.UserSession) (account.Session, error) {
		current.Session.Lineage, current.Session.EndTime, current.Session.EndReason = lineage, time.Time{}, ""
		current.Session.ExpireTime = r.clock.now().Add(30 * 24 * time.Hour)
		current.Session.ClientAddress = address
		return current.Session, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// model is the rules in the words in which they are given: a session knows the current token and its siblings, their
// parent, which other tokens were traded within the grace, whether all of it was longer ago than that, and which client
// has got the current token.
type model struct {
	current, parent, holder string
	good, recent            string // tokens with a space around each
	late, ended             bool
	fault                   string
}

// present returns what becomes of a token that is presented, and looks at what was given for it.
func (m *model) present(token, successor, client string) verdict {
	recent := strings.Contains(m.recent, " "+token+" ") && !m.late
	switch {
	case strings.Contains(m.good, " "+token+" "):
		if m.late {
			m.recent = ""
		} else {
			m.recent += " " + m.parent + " "
		}
		m.parent, m.good = token, ""
		m.renew(successor, client)
	case token == m.parent && (m.late || client != m.holder):
		if m.late { // Of the siblings, the newest stays good.
			m.recent, m.good = "", " "+m.current+" "
		}
		m.renew(successor, client)
	case token == m.parent, recent && client == m.holder:
		if successor != m.current {
			m.fault = "a token that comes again within the grace does not give the same current token"
		}
	case recent:
		return refused
	default:
		m.ended = true
		return ended
	}
	return answered
}

func (m *model) renew(successor, client string) {
	if successor == m.current || successor == m.parent {
		m.fault = "an old token is given out as a new one"
	}
	m.current, m.holder, m.late = successor, client, false
	m.good += " " + successor + " "
}
