package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// endings are the ways in which a session ends when somebody wants it to. Own is the session that is to end, other is
// another one of the same user.
var endings = map[string]func(t *testing.T, store *testStore, own, other *gatehousev1.CreateSessionResponse) error{
	"log-out": func(t *testing.T, s *testStore, own, _ *gatehousev1.CreateSessionResponse) error {
		_, err := s.sessions.DeleteSession(as(t, own.GetAccessToken()), &gatehousev1.DeleteSessionRequest{Id: "current"})
		return err
	},
	"log-out from another session": func(t *testing.T, s *testStore, own, other *gatehousev1.CreateSessionResponse) error {
		id := strings.ToUpper(own.GetSessionId()) // The case of a UUID does not matter.
		_, err := s.sessions.DeleteSession(as(t, other.GetAccessToken()), &gatehousev1.DeleteSessionRequest{Id: id})
		return err
	},
	"log-out everywhere": func(t *testing.T, s *testStore, own, _ *gatehousev1.CreateSessionResponse) error {
		_, err := s.sessions.DeleteAllSessions(as(t, own.GetAccessToken()), &gatehousev1.DeleteAllSessionsRequest{})
		return err
	},
	"log-out everywhere else": func(t *testing.T, s *testStore, _, other *gatehousev1.CreateSessionResponse) error {
		_, err := s.sessions.DeleteAllSessions(as(t, other.GetAccessToken()),
			&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
		return err
	},
	"change of the password": func(t *testing.T, s *testStore, _, other *gatehousev1.CreateSessionResponse) error {
		_, err := s.sessions.ChangePassword(as(t, other.GetAccessToken()), &gatehousev1.ChangePasswordRequest{
			Id: "me", CurrentPassword: adasPassword, NewPassword: "another one",
		})
		return err
	},
	"deletion of the account": func(t *testing.T, s *testStore, _, other *gatehousev1.CreateSessionResponse) error {
		_, err := s.users.DeleteUser(as(t, other.GetAccessToken()), &gatehousev1.DeleteUserRequest{Id: "me"})
		return err
	},
	"disabling of the account": func(t *testing.T, s *testStore, own, _ *gatehousev1.CreateSessionResponse) error {
		_, err := s.admin.DisableUser(as(t, s.logInRoot(t).GetAccessToken()),
			&gatehousev1.DisableUserRequest{Id: own.GetSession().GetUserId()})
		return err
	},
	"a new password from an admin": func(t *testing.T, s *testStore, own, _ *gatehousev1.CreateSessionResponse) error {
		_, err := s.admin.ResetUserPassword(as(t, s.logInRoot(t).GetAccessToken()),
			&gatehousev1.ResetUserPasswordRequest{Id: own.GetSession().GetUserId(), NewPassword: "another one"})
		return err
	},
	"log-out everywhere by an admin": func(t *testing.T, s *testStore, own, _ *gatehousev1.CreateSessionResponse) error {
		_, err := s.admin.DeleteUserSessions(as(t, s.logInRoot(t).GetAccessToken()),
			&gatehousev1.DeleteUserSessionsRequest{UserId: own.GetSession().GetUserId()})
		return err
	},
}

// sparing are the endings that leave the other session.
var sparing = []string{"log-out", "log-out from another session"}

func TestSessionEnd(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			withStore(t, func(t *testing.T, store *testStore, _ *clock) {
				own, other := store.logIn(t), store.logIn(t)
				if _, err := store.read(t, own.GetAccessToken()); err != nil {
					t.Fatal(err)
				}
				if err := end(t, store, own, other); err != nil {
					t.Fatal(err)
				}
				_, err := store.read(t, own.GetAccessToken())
				wantReason(t, err, sessionEnded)
				_, err = store.users.ReadUser(as(t, own.GetAccessToken()), &gatehousev1.ReadUserRequest{Id: "me"})
				wantReason(t, err, sessionEnded)
				_, err = store.refresh(t.Context(), own.GetRefreshToken())
				wantReason(t, err, sessionEnded)

				_, err = store.read(t, other.GetAccessToken())
				if spared := slices.Contains(sparing, name); spared != (err == nil) {
					t.Errorf("the other session: %v", err)
				}
			})
		})
	}
}

func TestChangePassword(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		own := store.logIn(t)
		change := func(present, next string) (*gatehousev1.ChangePasswordResponse, error) {
			return store.sessions.ChangePassword(as(t, own.GetAccessToken()), &gatehousev1.ChangePasswordRequest{
				Id: "me", CurrentPassword: present, NewPassword: next,
			})
		}
		_, err := change("a wrong one", "another one")
		wantReason(t, err, wrongPassword)
		response, err := change(adasPassword, "another one")
		if err != nil {
			t.Fatal(err)
		}
		if response.GetUser().GetVersion() != 2 || !response.GetSession().GetCurrent() ||
			response.GetSession().GetGeneration() != response.GetUser().GetSessionGeneration() {
			t.Errorf("the answer is %v", response)
		}
		_, err = store.sessions.CreateSession(t.Context(),
			&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: adasPassword})
		wantReason(t, err, badCredentials)
		_, err = store.sessions.CreateSession(t.Context(),
			&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: "another one"})
		if err != nil {
			t.Errorf("with the new password: %v", err)
		}
		if _, err := store.read(t, response.GetAccessToken()); err != nil {
			t.Errorf("the session that took the place of the one that changed it: %v", err)
		}
	})
}

// TestSessionReplacementVoidsOlderTokens checks that copies of the owner's tokens are void after the owner has changed
// the password or logged out everywhere else.
func TestSessionReplacementVoidsOlderTokens(t *testing.T) {
	for name, act := range map[string]func(store *testStore, me context.Context) (renewed, error){
		"change of the password": func(store *testStore, me context.Context) (renewed, error) {
			return store.sessions.ChangePassword(me, &gatehousev1.ChangePasswordRequest{
				Id: "me", CurrentPassword: adasPassword, NewPassword: "another one",
			})
		},
		"log-out everywhere else": func(store *testStore, me context.Context) (renewed, error) {
			return store.sessions.DeleteAllSessions(me, &gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			withStore(t, func(t *testing.T, store *testStore, clock *clock) {
				bystander := store.logInAs(t, store.addUser(t, "bob@example.com", false))
				first := store.logIn(t)
				clock.advance(time.Minute)
				second, err := store.refresh(t.Context(), first.GetRefreshToken())
				if err != nil {
					t.Fatal(err)
				}
				answer, err := act(store, as(t, second.GetAccessToken()))
				if err != nil {
					t.Fatal(err)
				}
				for _, token := range []string{first.GetRefreshToken(), second.GetRefreshToken()} {
					_, err := store.refresh(t.Context(), token)
					wantReason(t, err, sessionEnded)
				}
				_, err = store.read(t, second.GetAccessToken())
				wantReason(t, err, sessionEnded)
				if answer.GetSessionId() == first.GetSessionId() || answer.GetSession().GetId() != answer.GetSessionId() ||
					!answer.GetSession().GetCurrent() || answer.GetTokenType() != "Bearer" || answer.GetExpiresIn() != 900 {
					t.Errorf("the answer is %v", answer)
				}
				if _, err := store.read(t, answer.GetAccessToken()); err != nil {
					t.Errorf("the new access token: %v", err)
				}
				if _, err := store.refresh(t.Context(), answer.GetRefreshToken()); err != nil {
					t.Errorf("the new refresh token: %v", err)
				}
				if _, err := store.refresh(t.Context(), bystander.GetRefreshToken()); err != nil {
					t.Errorf("another user: %v", err)
				}
			})
		})
	}
}

// renewed is an answer with the tokens of a session that took the place of another one.
type renewed interface {
	GetSession() *gatehousev1.Session
	GetSessionId() string
	GetAccessToken() string
	GetTokenType() string
	GetExpiresIn() int32
	GetRefreshToken() string
	GetExpireTime() *timestamppb.Timestamp
}

// TestSessionReplacementAge checks that log-out everywhere else, which requires no password, leaves the session's end
// and log-in time as they were, and that a change of the password counts as a new log-in.
func TestSessionReplacementAge(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		first := store.logIn(t)
		for range 4 { // 80 of the 90 days.
			clock.advance(20 * 24 * time.Hour)
			response, err := store.refresh(t.Context(), first.GetRefreshToken())
			if err != nil {
				t.Fatal(err)
			}
			first.RefreshToken, first.AccessToken = response.GetRefreshToken(), response.GetAccessToken()
		}
		kept, err := store.sessions.DeleteAllSessions(as(t, first.GetAccessToken()),
			&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
		if err != nil {
			t.Fatal(err)
		}
		logIn := first.GetCreateTime().AsTime()
		if got := kept.GetSession().GetCreateTime().AsTime(); !got.Equal(logIn) {
			t.Errorf("it was opened at %v, not %v", got, logIn)
		}
		if got := claimsOf(t, kept.GetAccessToken())["auth_time"]; got != float64(logIn.Unix()) {
			t.Errorf("its auth_time is %v, not %d", got, logIn.Unix())
		}
		changed, err := store.sessions.ChangePassword(as(t, kept.GetAccessToken()), &gatehousev1.ChangePasswordRequest{
			Id: "me", CurrentPassword: adasPassword, NewPassword: "another one",
		})
		if err != nil {
			t.Fatal(err)
		}
		now := clock.now()
		if got, end := changed.GetExpireTime().AsTime(), now.Add(30*24*time.Hour); !got.Equal(end) {
			t.Errorf("after a change of the password it ends at %v, not %v", got, end)
		}
		if got := claimsOf(t, changed.GetAccessToken())["auth_time"]; got != float64(now.Unix()) {
			t.Errorf("after a change of the password its auth_time is %v, not %d", got, now.Unix())
		}
	})
}

func TestDeleteAllSessions(t *testing.T) {
	elsewhere := &gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true}
	t.Run("answers_a_recent_log-in_with_a_session_that_can_be_refreshed", func(t *testing.T) {
		withStore(t, func(t *testing.T, store *testStore, clock *clock) {
			own := store.logIn(t)
			clock.advance(authn.MaxLoginAge)
			replaced, err := store.sessions.DeleteAllSessions(as(t, own.GetAccessToken()), elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			clock.advance(time.Hour)
			if _, err := store.refresh(t.Context(), replaced.GetRefreshToken()); err != nil {
				t.Error(err)
			}
		})
	})
	// A holder of a stolen access token could else log its owner out and stay.
	t.Run("does_not_make_a_session_that_lasts_of_an_access_token", func(t *testing.T) {
		withStore(t, func(t *testing.T, store *testStore, clock *clock) {
			own := store.logIn(t)
			clock.advance(authn.MaxLoginAge + time.Microsecond)
			replaced, err := store.sessions.DeleteAllSessions(as(t, own.GetAccessToken()), elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			if replaced.GetRefreshToken() != "" {
				t.Error("the answer has a refresh token")
			}
			stolen, issued := claimsOf(t, own.GetAccessToken()), claimsOf(t, replaced.GetAccessToken())
			if issued["exp"] != stolen["exp"] {
				t.Errorf("the new access token expires at %v, the one of the call at %v", issued["exp"], stolen["exp"])
			}
			if _, err := store.sessions.ListSessions(as(t, replaced.GetAccessToken()), &gatehousev1.ListSessionsRequest{}); err != nil {
				t.Errorf("the new access token is refused: %v", err)
			}
			if _, err := store.refresh(t.Context(), own.GetRefreshToken()); err == nil {
				t.Error("the old refresh token is good")
			}
		})
	})
}

func TestChangePasswordConcurrently(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		own := store.logIn(t)
		errs := make([]error, 10)
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() {
				_, errs[i] = store.sessions.ChangePassword(as(t, own.GetAccessToken()), &gatehousev1.ChangePasswordRequest{
					Id: "me", CurrentPassword: adasPassword, NewPassword: fmt.Sprintf("password %d", i),
				})
			})
		}
		wait.Wait()
		succeeded := 0
		for i, err := range errs {
			_, logIn := store.sessions.CreateSession(t.Context(),
				&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: fmt.Sprintf("password %d", i)})
			if (err == nil) != (logIn == nil) {
				t.Errorf("change %d gave %v, logging in with it %v", i, err, logIn)
			}
			if err == nil {
				succeeded++
			} else if wantErrorReason(err, sessionEnded) != nil { // With the one that succeeded.
				wantReason(t, err, wrongPassword)
			}
		}
		if succeeded != 1 {
			t.Errorf("%d changes succeeded", succeeded)
		}
	})
}
