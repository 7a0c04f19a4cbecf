package store

import (
	"context"
	"strings"
	"testing"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
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
