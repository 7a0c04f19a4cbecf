package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

const (
	tokenExpired    = gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED
	wrongPassword   = gatehousev1.ErrorReason_ERROR_REASON_PASSWORD_WRONG
	badCredentials  = gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS
	sessionNotFound = gatehousev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND
	badPageToken    = gatehousev1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID
)

// withStore runs a test on a store with one user, on each kind of database.
func withStore(t *testing.T, test func(t *testing.T, store *testStore, clock *clock)) {
	t.Helper()
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		clock := newClock()
		store := startStore(t, testConfig(database, clock))
		store.signUp(t)
		test(t, store, clock)
	})
}

func TestSessionIdleExpiry(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		kept, left := store.logIn(t), store.logIn(t)
		clock.advance(20 * 24 * time.Hour)
		refreshed, err := store.refresh(t.Context(), kept.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		clock.advance(10*24*time.Hour - time.Microsecond)
		if _, err := store.refresh(t.Context(), left.GetRefreshToken()); err != nil {
			t.Errorf("a moment before the idle lifetime is over: %v", err)
		}
		again := store.logIn(t)
		clock.advance(30 * 24 * time.Hour)
		for _, token := range []string{again.GetRefreshToken(), refreshed.GetRefreshToken()} {
			_, err := store.refresh(t.Context(), token)
			wantReason(t, err, sessionExpired)
		}
	})
}

func TestSessionMaxAge(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		response := store.logIn(t)
		token, end := response.GetRefreshToken(), response.GetCreateTime().AsTime().Add(90*24*time.Hour)
		for day := range 90 {
			refreshed, err := store.refresh(t.Context(), token)
			if err != nil {
				t.Fatalf("on day %d: %v", day, err)
			}
			if refreshed.GetExpireTime().AsTime().After(end) {
				t.Fatalf("on day %d it is to end at %v", day, refreshed.GetExpireTime().AsTime())
			}
			token = refreshed.GetRefreshToken()
			clock.advance(24*time.Hour - time.Second)
		}
		clock.advance(time.Minute) // Half a minute before the end: an access token must not outlive it.
		last, err := store.refresh(t.Context(), token)
		if err != nil || last.GetExpiresIn() < 1 || last.GetExpiresIn() > 30 {
			t.Fatalf("shortly before the end: %v, %v", last.GetExpiresIn(), err)
		}
		clock.advance(31 * time.Second)
		_, err = store.refresh(t.Context(), last.GetRefreshToken())
		wantReason(t, err, sessionExpired)
		_, err = store.read(t, last.GetAccessToken())
		wantReason(t, err, tokenExpired)
	})
}

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

func TestRefreshReuseEndsAccessTokens(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		first, other := store.logIn(t), store.logIn(t)
		second, err := store.refresh(t.Context(), first.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.refresh(t.Context(), second.GetRefreshToken()); err != nil {
			t.Fatal(err)
		}
		clock.advance(time.Minute)
		_, err = store.refresh(t.Context(), first.GetRefreshToken())
		wantReason(t, err, reused)
		for _, token := range []string{first.GetAccessToken(), second.GetAccessToken()} {
			_, err := store.read(t, token)
			wantReason(t, err, sessionEnded)
		}
		if _, err := store.read(t, other.GetAccessToken()); err != nil {
			t.Errorf("the other session: %v", err)
		}
		for range 3 {
			_, err = store.refresh(t.Context(), second.GetRefreshToken())
			wantReason(t, err, reused)
		}
		log := store.log.String()
		if strings.Count(log, "security event") != 1 || !strings.Contains(log, "session="+first.GetSessionId()) {
			t.Errorf("the log does not tell of it once:\n%s", log)
		}
		for _, secret := range []string{first.GetRefreshToken(), second.GetRefreshToken(), first.GetAccessToken()} {
			if strings.Contains(log, secret) {
				t.Error("the log holds a token")
			}
		}
	})
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

func TestListSessions(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		var made []*gatehousev1.CreateSessionResponse
		for range 5 {
			clock.advance(time.Second)
			made = append(made, store.logIn(t))
		}
		list := func(token string, size int32, page string) (*gatehousev1.ListSessionsResponse, error) {
			return store.sessions.ListSessions(as(t, token),
				&gatehousev1.ListSessionsRequest{PageSize: size, PageToken: page})
		}
		own := made[1].GetAccessToken()
		var listed []*gatehousev1.Session
		page := ""
		for {
			response, err := list(own, 2, page)
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, response.GetSessions()...)
			if page = response.GetNextPageToken(); page == "" {
				break
			}
		}
		if len(listed) != len(made) {
			t.Fatalf("%d sessions are listed, not %d", len(listed), len(made))
		}
		for i, session := range listed {
			wanted := made[len(made)-1-i].GetSessionId()
			if session.GetId() != wanted || session.GetCurrent() != (wanted == made[1].GetSessionId()) {
				t.Errorf("session %d is %v, want %s", i, session, wanted)
			}
		}
		if all, err := list(own, 0, ""); err != nil || len(all.GetSessions()) != 5 || all.GetNextPageToken() != "" {
			t.Errorf("without a page size: %v, %v", all, err)
		}
		first, err := list(own, 1, "")
		if err != nil {
			t.Fatal(err)
		}
		store.refuseForeignPages(t, own, first.GetNextPageToken())
	})
}

// refuseForeignPages presents page tokens that are not those of the list.
func (s *testStore) refuseForeignPages(t *testing.T, own, good string) {
	t.Helper()
	flipped := []byte(good)
	flipped[len(flipped)/2] ^= 1
	for _, page := range []string{string(flipped), good[:len(good)-1], good + "A", "AAAA", "é", good[:43]} {
		_, err := s.sessions.ListSessions(as(t, own), &gatehousev1.ListSessionsRequest{PageToken: page})
		wantReason(t, err, badPageToken)
	}
	if _, err := s.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
		Email: "bob@example.com", FullName: "Bob", Password: adasPassword,
	}); err != nil {
		t.Fatal(err)
	}
	bob, err := s.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: "bob@example.com", Password: adasPassword})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.sessions.ListSessions(as(t, bob.GetAccessToken()), &gatehousev1.ListSessionsRequest{PageToken: good})
	wantReason(t, err, badPageToken)
	_, err = s.sessions.DeleteSession(as(t, own), &gatehousev1.DeleteSessionRequest{Id: bob.GetSessionId()})
	wantReason(t, err, sessionNotFound)
	_, err = s.sessions.ReadSession(as(t, own), &gatehousev1.ReadSessionRequest{Id: bob.GetSessionId()})
	wantReason(t, err, sessionNotFound)
}

func TestReadSession(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, clock *clock) {
		client := callctx.Client{Address: "203.0.113.7", UserAgent: "curl/8"}
		ctx := callctx.WithClient(context.WithoutCancel(t.Context()), client)
		own, err := store.sessions.CreateSession(ctx, &gatehousev1.CreateSessionRequest{
			Email: adasEmail, Password: adasPassword,
		})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := store.read(t, own.GetAccessToken())
		if err != nil {
			t.Fatal(err)
		}
		session := answer.GetSession()
		if session.GetClientAddress() != client.Address || session.GetUserAgent() != client.UserAgent ||
			!session.GetCurrent() || session.GetId() != own.GetSessionId() || session.GetUserId() != answer.GetSub() {
			t.Errorf("the session is %v", session)
		}
		if !answer.GetActive() || answer.GetSub() != answer.GetUser().GetId() || answer.GetIss() != "https://issuer.example.com" ||
			answer.GetAud() != "audience" || len(answer.GetRoles()) != 1 || answer.GetJti() == "" ||
			answer.GetExp()-answer.GetIat() != 900 || answer.GetExp() != uint32(clock.now().Unix())+900 {
			t.Errorf("the token is %v", answer)
		}
		moved := callctx.WithClient(t.Context(), callctx.Client{Address: "2001:db8::7", UserAgent: "wget"})
		clock.advance(time.Hour)
		refreshed, err := store.refresh(moved, own.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		session = refreshed.GetSession()
		if session.GetClientAddress() != "2001:db8::7" || session.GetUserAgent() != "wget" || session.GetVersion() != 2 ||
			!session.GetLastUseTime().AsTime().Equal(clock.now()) || session.GetCreateTime().AsTime().Equal(clock.now()) {
			t.Errorf("after a refresh from elsewhere the session is %v", session)
		}
		other := store.logIn(t)
		ctx = metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+other.GetAccessToken()))
		of, err := store.sessions.ReadSession(ctx, &gatehousev1.ReadSessionRequest{Id: own.GetSessionId()})
		if err != nil || of.GetSession().GetCurrent() || of.GetSession().GetId() != own.GetSessionId() || of.Exp != nil || of.Jti != nil {
			t.Errorf("from another session it is %v, %v", of, err)
		}
	})
}

func TestLogInReplacesOutdatedHash(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		config := testConfig(database, newClock())
		store := startStore(t, config)
		store.signUp(t)
		config.Password.Iterations = 2
		stronger, db := startStore(t, config), store.service.storage
		before, err := db.ReadCredential(t.Context(), adasEmail)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stronger.sessions.CreateSession(t.Context(),
			&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: "a wrong one"}); err == nil {
			t.Fatal("a wrong password was taken")
		}
		if same, err := db.ReadCredential(t.Context(), adasEmail); err != nil || same != before {
			t.Errorf("a wrong password has changed the hash, %v", err)
		}
		own := stronger.logIn(t)
		after, err := db.ReadCredential(t.Context(), adasEmail)
		if err != nil || after.PasswordHash == before.PasswordHash || !strings.Contains(after.PasswordHash, "t=2") {
			t.Fatalf("the hash is %q, %v", after.PasswordHash, err)
		}
		again := stronger.logIn(t)
		if same, err := db.ReadCredential(t.Context(), adasEmail); err != nil || same != after {
			t.Errorf("the hash changes with each log-in, %v", err)
		}
		for _, session := range []*gatehousev1.CreateSessionResponse{own, again} { // Nobody is logged out by it.
			if _, err := stronger.read(t, session.GetAccessToken()); err != nil {
				t.Error(err)
			}
		}
	})
}
