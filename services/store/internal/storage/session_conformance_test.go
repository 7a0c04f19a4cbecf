package storage

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
)

// sessionConformance is what every database must do for sessions.
var sessionConformance = []conformanceCase{
	{"a session is read as written", sessionAsWritten},
	{"a session needs its user", sessionNeedsUser},
	{"a session of a past generation is not made", sessionOfPastGeneration},
	{"a change is decided on what is there", changeDecidesOnWhatIsThere},
	{"a change that changes nothing writes nothing", changeOfNothing},
	{"a token is repeated a bounded number of times", tokenRepeated},
	{"a token that is outdated is not repeated", outdatedTokenNotRepeated},
	{"the client before the last is remembered", previousClient},
	{"a user has a bounded number of sessions", sessionsBounded},
	{"a session is ended once", sessionEndedOnce},
	{"a session is ended by its owner only", sessionEndedByOwner},
	{"all sessions end at once", allSessionsEnd},
	{"all sessions end, and one is replaced", sessionReplaced},
	{"to replace an ended session changes nothing", endedSessionIsNotReplaced},
	{"a password is changed with its sessions, or neither", passwordWithSessions},
	{"sessions are listed newest first, page by page", sessionsByPage},
	{"inactive sessions are not listed", onlyActiveSessions},
	{"expired sessions are deleted, the oldest first", expiredSessionsDeleted},
}

// newSession is a session that is not stored yet.
func newSession(user account.User) account.Session {
	now := user.CreateTime
	return account.Session{
		ID: newID(), UserID: user.ID, CreateTime: now, LastUseTime: now, ExpireTime: now.Add(time.Hour),
		UserAgent: "curl/8 \U0001F9D1", ClientAddress: "2001:db8::7", Lineage: refresh.NewLineage(now),
		Generation: user.SessionGeneration, Version: 1,
	}
}

func addSession(t *testing.T, s *Storage, user account.User) account.Session {
	t.Helper()
	session := newSession(user)
	if err := s.CreateSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	return session
}

func readAccountOf(t *testing.T, s *Storage, sessionID string) account.UserSession {
	t.Helper()
	current, err := s.ReadSession(t.Context(), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	return current
}

func sessionAsWritten(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	for range 2 { // A user has any number of sessions.
		session := addSession(t, s, user)
		if got, wanted := readAccountOf(t, s, session.ID), (account.UserSession{User: user, Session: session}); got != wanted {
			t.Errorf("wrote %+v\nread %+v", wanted, got)
		}
	}
	fine := newSession(user)
	fine.UserAgent = strings.Repeat("\U0001D160", 64)
	fine.ClientAddress = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
	fine.CreateTime = fine.CreateTime.Add(999 * time.Nanosecond)
	if err := s.CreateSession(t.Context(), fine); err != nil {
		t.Fatal(err)
	}
	if got := readAccountOf(t, s, fine.ID).Session; got != normalized(fine) {
		t.Errorf("wrote %+v\nread %+v", fine, got)
	}
}

func sessionNeedsUser(t *testing.T, s *Storage) {
	session := newSession(newUser("ada@example.com"))
	want(t, s.CreateSession(t.Context(), session), ErrStaleGeneration)
	for _, id := range []string{session.ID, "", "current", "é", strings.ToUpper(session.ID)} {
		_, err := s.ReadSession(t.Context(), id)
		want(t, err, ErrNotFound)
	}
}

func sessionOfPastGeneration(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	session := newSession(user)
	if _, err := s.EndAllSessions(t.Context(), user.ID, Replacement{}, user.CreateTime); err != nil {
		t.Fatal(err)
	}
	want(t, s.CreateSession(t.Context(), session), ErrStaleGeneration)
	credential, err := s.ReadCredential(t.Context(), user.Email)
	if err != nil {
		t.Fatal(err)
	}
	session.Generation = credential.SessionGeneration
	if err := s.CreateSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	if current := readAccountOf(t, s, session.ID); current.Ended() || current.Session.Generation != 1 {
		t.Errorf("the new session is %+v", current)
	}
}

func changeDecidesOnWhatIsThere(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	session := addSession(t, s, user)
	later := session.CreateTime.Add(time.Minute)
	wanted := session
	wanted.LastUseTime, wanted.ExpireTime, wanted.Version = later, later.Add(time.Hour), 2
	wanted.UserAgent, wanted.ClientAddress = "", "192.0.2.1"
	wanted.PreviousUserAgent, wanted.PreviousClientAddress = "a \U0001F9D1", "2001:db8::8"
	wanted.Lineage = refresh.Lineage{
		Current: 9, First: 8, Parent: 7, RotateTime: later, Repeats: 3, Refused: true,
		Trades: refresh.Trades{{Number: 6, Time: later}, {Number: 1 << 40, Time: later.Add(time.Microsecond)}},
	}
	calls := 0
	changed, err := s.ChangeSession(t.Context(), session.ID, func(current account.UserSession) (account.Session, error) {
		if calls++; calls == 1 { // Somebody else is faster.
			exec(t, s, "UPDATE sessions SET version = 7 WHERE id = '"+session.ID+"'")
		}
		change := wanted
		change.Version = current.Session.Version
		return change, nil
	})
	wanted.Version = 8
	if err != nil || calls != 2 || changed.Session != wanted || changed.User != user {
		t.Errorf("%d calls gave %+v, %v\nwant %+v", calls, changed, err, wanted)
	}
	if got := readAccountOf(t, s, session.ID).Session; got != wanted {
		t.Errorf("read %+v\nwant %+v", got, wanted)
	}
	_, err = s.ChangeSession(t.Context(), newID(), func(account.UserSession) (account.Session, error) {
		t.Error("there is nothing to change")
		return account.Session{}, nil
	})
	want(t, err, ErrNotFound)
}

func changeOfNothing(t *testing.T, s *Storage) {
	session := addSession(t, s, addUser(t, s, "ada@example.com"))
	refusal := errors.New("refused")
	for _, wanted := range []error{nil, refusal} {
		_, err := s.ChangeSession(t.Context(), session.ID, func(current account.UserSession) (account.Session, error) {
			if wanted != nil {
				current.Session.ExpireTime = current.Session.ExpireTime.Add(time.Hour)
			}
			return current.Session, wanted
		})
		if !errors.Is(err, wanted) {
			t.Errorf("error is %v, want %v", err, wanted)
		}
	}
	if got := readAccountOf(t, s, session.ID).Session; got != session {
		t.Errorf("read %+v\nwrote %+v", got, session)
	}
}

func tokenRepeated(t *testing.T, s *Storage) {
	session := addSession(t, s, addUser(t, s, "ada@example.com"))
	var counted atomic.Int64
	for _, err := range race(3*refresh.MaxRepeats, func(int) error {
		repeated, err := s.RepeatToken(t.Context(), session, session.CreateTime)
		if repeated {
			counted.Add(1)
		}
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	want := session
	want.Lineage.Repeats = refresh.MaxRepeats
	if got := readAccountOf(t, s, session.ID).Session; counted.Load() != refresh.MaxRepeats || got != want {
		t.Errorf("it was repeated %d times: %+v\nwant %+v", counted.Load(), got, want)
	}
	for range 3 {
		if err := s.RefuseToken(t.Context(), session, "REASON", session.CreateTime); err != nil {
			t.Fatal(err)
		}
	}
	events, err := s.ListEvents(t.Context(), EventFilter{Kind: RefreshRepeated}, 10)
	if err != nil || len(events) != 2 || events[0].Reason+events[1].Reason != "REASON" {
		t.Errorf("there are not one event of the repeats and one of the refusals: %+v, %v", events, err)
	}
}

func outdatedTokenNotRepeated(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	session, ended := addSession(t, s, user), addSession(t, s, user)
	if _, err := s.ChangeSession(t.Context(), session.ID, func(current account.UserSession) (account.Session, error) {
		current.Session.Lineage, _ = current.Session.Lineage.Present(1, true, user.CreateTime, time.Minute)
		return current.Session, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.EndSession(t.Context(), user.ID, ended.ID, user.CreateTime); err != nil {
		t.Fatal(err)
	}
	for _, session := range []account.Session{session, ended} {
		if counted, err := s.RepeatToken(t.Context(), session, user.CreateTime); err != nil || counted {
			t.Errorf("it was repeated: %v, %v", counted, err)
		}
	}
}

func previousClient(t *testing.T, s *Storage) {
	session := addSession(t, s, addUser(t, s, "ada@example.com"))
	first := session.Client()
	for _, step := range []struct{ client, previous callctx.Client }{
		{first, callctx.Client{}},
		{callctx.Client{Address: "2001:db8::8", UserAgent: first.UserAgent}, callctx.Client{}}, // The same network.
		{
			callctx.Client{Address: "192.0.2.1", UserAgent: "x"},
			callctx.Client{Address: "2001:db8::8", UserAgent: first.UserAgent},
		},
		{
			callctx.Client{Address: "192.0.2.2", UserAgent: "x"},
			callctx.Client{Address: "2001:db8::8", UserAgent: first.UserAgent},
		},
		{callctx.Client{Address: "192.0.2.2", UserAgent: "y"}, callctx.Client{Address: "192.0.2.2", UserAgent: "x"}},
	} {
		if _, err := s.ChangeSession(t.Context(), session.ID, func(current account.UserSession) (account.Session, error) {
			return current.Session.UsedBy(step.client), nil
		}); err != nil {
			t.Fatal(err)
		}
		got := readAccountOf(t, s, session.ID).Session
		previous := callctx.Client{Address: got.PreviousClientAddress, UserAgent: got.PreviousUserAgent}
		if got.Client() != step.client || previous != step.previous {
			t.Errorf("%v after %v, want %v after %v", got.Client(), previous, step.client, step.previous)
		}
	}
}

func sessionsByPage(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	addSession(t, s, addUser(t, s, "bob@example.com"))
	var made []account.Session
	for range 5 {
		made = append([]account.Session{addSession(t, s, user)}, made...)
	}
	var listed []account.Session
	before := ""
	for _, size := range []int{2, 2, 1, 0} {
		page, err := s.ListSessions(t.Context(), user.ID, user.CreateTime, before, 2)
		if err != nil || len(page) != size {
			t.Fatalf("a page of %d has %d, %v", size, len(page), err)
		}
		listed = append(listed, page...)
		before = listed[len(listed)-1].ID
	}
	for i := range made {
		if listed[i] != made[i] {
			t.Errorf("session %d is %+v\nwant %+v", i, listed[i], made[i])
		}
	}
}

func onlyActiveSessions(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	past, own := addSession(t, s, user), addSession(t, s, user)
	current, err := s.EndAllSessions(t.Context(), user.ID, Replacement{own.ID, newSession(user)}, user.CreateTime)
	if err != nil {
		t.Fatal(err)
	}
	ended := addSession(t, s, current.User)
	if err := s.EndSession(t.Context(), user.ID, ended.ID, user.CreateTime); err != nil {
		t.Fatal(err)
	}
	sessions, err := s.ListSessions(t.Context(), user.ID, own.ExpireTime.Add(-time.Microsecond), "", 10)
	if err != nil || len(sessions) != 1 || sessions[0] != current.Session {
		t.Errorf("the sessions are %+v, %v; %s is past", sessions, err, past.ID)
	}
	if sessions, err := s.ListSessions(t.Context(), user.ID, own.ExpireTime, "", 10); err != nil || len(sessions) != 0 {
		t.Errorf("expired sessions are listed: %+v, %v", sessions, err)
	}
}
