package storage

import (
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

func sessionsBounded(t *testing.T, s *Storage) {
	user, bob := addUser(t, s, "ada@example.com"), addUser(t, s, "bob@example.com")
	bystander := addSession(t, s, bob)
	var made []account.Session
	logIn := func() {
		session := newSession(user)
		session.CreateTime = user.CreateTime.Add(time.Duration(len(made)) * time.Second)
		session.LastUseTime, session.ExpireTime = session.CreateTime, session.CreateTime.Add(time.Hour)
		if err := s.CreateSession(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		made = append(made, session)
	}
	for range maxSessions {
		logIn()
	}
	if _, err := s.ChangeSession(t.Context(), made[0].ID, func(current account.UserSession) (account.Session, error) {
		current.Session.LastUseTime = user.CreateTime.Add(time.Hour) // The first one is in use.
		return current.Session, nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		logIn()
	}
	for i, ended := range map[int]bool{0: false, 1: true, 2: true, 3: false, len(made) - 1: false} {
		current := readAccountOf(t, s, made[i].ID)
		if current.Ended() != ended || ended && current.Session.EndReason != account.Displaced {
			t.Errorf("session %d: %+v", i, current.Session)
		}
	}
	events, err := s.ListEvents(t.Context(), EventFilter{UserID: user.ID, Kind: Logout}, 10)
	if err != nil || len(events) != 2 || events[1].SessionID != made[1].ID || events[1].Details["cause"] != string(account.Displaced) {
		t.Errorf("the events are %+v, %v", events, err)
	}
	for range maxEndedSessions + 5 {
		logIn()
	}
	if rows := count(t, s, "sessions WHERE user_id = '"+user.ID+"'"); rows != maxSessions+maxEndedSessions {
		t.Errorf("there are %d rows", rows)
	}
	if readAccountOf(t, s, bystander.ID).Ended() {
		t.Error("the session of another user has ended")
	}
}

func sessionEndedOnce(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	session, other := addSession(t, s, user), addSession(t, s, user)
	for i := range 2 {
		if err := s.EndSession(t.Context(), user.ID, session.ID, user.CreateTime.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	got := readAccountOf(t, s, session.ID)
	if !got.Ended() || got.Session.EndTime != user.CreateTime || got.Session.EndReason != account.LoggedOut || got.Session.Version != 2 {
		t.Errorf("the session is %+v", got.Session)
	}
	if readAccountOf(t, s, other.ID).Ended() {
		t.Error("another session ended too")
	}
}

func sessionEndedByOwner(t *testing.T, s *Storage) {
	ada, bob := addUser(t, s, "ada@example.com"), addUser(t, s, "bob@example.com")
	session := addSession(t, s, ada)
	want(t, s.EndSession(t.Context(), bob.ID, session.ID, ada.CreateTime), ErrNotFound)
	want(t, s.EndSession(t.Context(), ada.ID, newID(), ada.CreateTime), ErrNotFound)
	if readAccountOf(t, s, session.ID).Ended() {
		t.Error("somebody else ended the session")
	}
}

func allSessionsEnd(t *testing.T, s *Storage) {
	ada, bob := addUser(t, s, "ada@example.com"), addUser(t, s, "bob@example.com")
	first, second, bobs := addSession(t, s, ada), addSession(t, s, ada), addSession(t, s, bob)
	later := ada.CreateTime.Add(time.Hour)
	current, err := s.EndAllSessions(t.Context(), ada.ID, Replacement{}, later)
	if err != nil {
		t.Fatal(err)
	}
	ada.SessionGeneration, ada.Version, ada.UpdateTime = 1, 2, later
	if current.User != ada {
		t.Errorf("the user is %+v\nwant %+v", current.User, ada)
	}
	for id, ended := range map[string]bool{first.ID: true, second.ID: true, bobs.ID: false} {
		if readAccountOf(t, s, id).Ended() != ended {
			t.Errorf("session %s: ended is not %v", id, ended)
		}
	}
	_, err = s.EndAllSessions(t.Context(), newID(), Replacement{}, later)
	want(t, err, ErrNotFound)
}

func sessionReplaced(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	own, other := addSession(t, s, user), addSession(t, s, user)
	for i := range int64(3) { // It is replaced again and again.
		replacement := Replacement{own.ID, newSession(user)}
		replacement.New.CreateTime = user.CreateTime.Add(-time.Hour)
		current, err := s.EndAllSessions(t.Context(), user.ID, replacement, user.CreateTime)
		if err != nil {
			t.Fatal(err)
		}
		want := replacement.New
		want.Generation = i + 1
		if current.Ended() || current.Session != want || current.User.Version != i+2 {
			t.Errorf("the account is %+v", current)
		}
		if got := readAccountOf(t, s, want.ID); got != current {
			t.Errorf("read %+v\nwas told %+v", got, current)
		}
		if got := readAccountOf(t, s, own.ID); !got.Ended() || got.Session.EndReason != account.Replaced || got.Session.Version != own.Version+1 {
			t.Errorf("the session that was replaced is %+v", got)
		}
		own = current.Session
	}
	if !readAccountOf(t, s, other.ID).Ended() {
		t.Error("the other session did not end")
	}
}

func endedSessionIsNotReplaced(t *testing.T, s *Storage) {
	user, bob := addUser(t, s, "ada@example.com"), addUser(t, s, "bob@example.com")
	active, ended, bobs := addSession(t, s, user), addSession(t, s, user), addSession(t, s, bob)
	if err := s.EndSession(t.Context(), user.ID, ended.ID, user.CreateTime); err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{ended.ID, bobs.ID, newID()} {
		replacement := Replacement{old, newSession(user)}
		_, err := s.EndAllSessions(t.Context(), user.ID, replacement, user.CreateTime)
		want(t, err, ErrSessionEnded)
		_, err = s.ReadSession(t.Context(), replacement.New.ID)
		want(t, err, ErrNotFound)
	}
	if got := readAccountOf(t, s, active.ID); got.Ended() || got.User != user {
		t.Errorf("the account is %+v", got)
	}
}

func passwordWithSessions(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	own, other := addSession(t, s, user), addSession(t, s, user)
	replacement := Replacement{own.ID, newSession(user)}
	_, err := s.ChangePassword(t.Context(), user.ID, "another hash", "a new hash", replacement, user.CreateTime)
	want(t, err, ErrNotFound)
	if got := readAccountOf(t, s, other.ID); got.Ended() || got.User != user {
		t.Errorf("the account is %+v", got)
	}
	current, err := s.ChangePassword(t.Context(), user.ID, hash, "a new hash", replacement, user.CreateTime)
	if err != nil || current.Ended() || current.User.Version != 2 {
		t.Fatalf("the account is %+v, %v", current, err)
	}
	for _, session := range []account.Session{own, other} {
		if !readAccountOf(t, s, session.ID).Ended() {
			t.Error("a session did not end")
		}
	}
	credential, err := s.ReadCredential(t.Context(), user.Email)
	if wanted := (account.Credential{UserID: user.ID, PasswordHash: "a new hash", State: account.Active, SessionGeneration: 1}); err != nil || credential != wanted {
		t.Errorf("the credential is %+v, %v", credential, err)
	}
}

func expiredSessionsDeleted(t *testing.T, s *Storage) {
	user := addUser(t, s, "ada@example.com")
	var ids []string
	for i := range 4 {
		session := newSession(user)
		session.ExpireTime = user.CreateTime.Add(time.Duration(i) * time.Minute)
		if err := s.CreateSession(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, session.ID)
	}
	for _, wanted := range []int64{2, 1, 0} { // The fourth has not expired before that time.
		deleted, err := s.DeleteExpiredSessions(t.Context(), user.CreateTime.Add(3*time.Minute), 2)
		if err != nil || deleted != wanted {
			t.Errorf("deleted %d, %v; want %d", deleted, err, wanted)
		}
		if wanted == 2 { // The oldest first.
			readAccountOf(t, s, ids[2])
		}
	}
	readAccountOf(t, s, ids[3])
	_, err := s.ReadSession(t.Context(), ids[2])
	want(t, err, ErrNotFound)
}
