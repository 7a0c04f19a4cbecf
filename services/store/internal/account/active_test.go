package account

import (
	"errors"
	"testing"
	"time"
)

func TestCheckActive(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	valid := UserSession{
		User:    User{ID: "ada", State: Active, SessionGeneration: 2},
		Session: Session{ID: "session", UserID: "ada", Generation: 2, ExpireTime: now.Add(time.Second)},
	}
	ended, suspended := SessionEndedError{SessionID: "session", UserID: "ada"}, SessionEndedError{}
	for name, test := range map[string]struct {
		change func(*UserSession)
		want   *SessionEndedError
	}{
		"ended_individually":    {func(s *UserSession) { s.Session.EndTime = now }, &ended},
		"ended_with_all_others": {func(s *UserSession) { s.User.SessionGeneration++ }, &ended},
		// The account may be enabled again, so that no cache may remember the end.
		"of_a_disabled_user":          {func(s *UserSession) { s.User.State = Disabled }, &suspended},
		"of_a_user_of_unknown_state":  {func(s *UserSession) { s.User.State = "" }, &suspended},
		"of_a_disabled_user_and_over": {func(s *UserSession) { s.User.State, s.Session.EndTime = Disabled, now }, &ended},
	} {
		t.Run(name, func(t *testing.T) {
			session := valid
			test.change(&session)
			got, ok := errors.AsType[*SessionEndedError](session.CheckActive(now))
			if !ok || *got != *test.want {
				t.Errorf("error is %v, want %v", got, test.want)
			}
		})
	}
	if err := valid.CheckActive(now); err != nil {
		t.Errorf("a session that may act: %v", err)
	}
	if err := valid.CheckActive(now.Add(time.Second)); !errors.Is(err, ErrSessionExpired) {
		t.Errorf("a session at its expire time: %v", err)
	}
}
