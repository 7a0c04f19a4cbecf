package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/rpc"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// holdWriteLock is another process that writes to the file. The function returned makes it stop.
func holdWriteLock(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	execute := func(statement string) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	execute("BEGIN IMMEDIATE")
	return func() { t.Helper(); execute("ROLLBACK") }
}

// leavingCaller returns a caller that leaves when the clock is asked for the time for the given time: on the way to
// record a refusal.
func leavingCaller(t *testing.T, clock *clock, at int) (context.Context, func() time.Time) {
	t.Helper()
	ctx, leave := context.WithCancel(callctx.WithClient(t.Context(), callctx.Client{Address: "203.0.113.7"}))
	t.Cleanup(leave)
	asked := 0
	return ctx, func() time.Time {
		if asked++; asked == at {
			leave()
		}
		return clock.now()
	}
}

// refusals returns how many refusals of a kind the events of a user count.
func (s *testStore) refusals(t *testing.T, root context.Context, userID string, kind storage.EventKind) int64 {
	t.Helper()
	page, err := s.admin.ListAuditEvents(root, &gatehousev1.ListAuditEventsRequest{
		UserId: userID, StartTime: timestamppb.New(time.Unix(0, 0)), PageSize: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	var count int64
	for _, event := range page.GetAuditEvents() {
		if event.GetReason() != "" && event.GetKind().String() == "AUDIT_EVENT_KIND_"+string(kind) {
			count += event.GetCount()
		}
	}
	return count
}

// TestAfterComparison makes callers leave between the comparison of a password and what follows from it.
func TestAfterComparison(t *testing.T) {
	t.Run("a_wrong_repeat_of_a_sign-up_voids_its_id_while_the_database_is_held_up", func(t *testing.T) {
		clock, path := newClock(), filepath.Join(t.TempDir(), "test.db")
		store := startStore(t, testConfig(storeconfig.Database{URL: "sqlite:" + path}, clock))
		store.signUp(t)
		root := as(t, store.logInRoot(t).GetAccessToken())
		first, err := store.users.CreateUser(t.Context(), gracesSignUp())
		if err != nil {
			t.Fatal(err)
		}
		release := holdWriteLock(t, path)
		const guesses = 4
		answers := make(chan error, guesses)
		for range guesses {
			ctx, now := leavingCaller(t, clock, 2) // The first time is that of the sign-up's age.
			service := store.service.direct(t, func(config *rpc.Config) { config.Now = now }).users
			request := gracesSignUp()
			request.Password = "a wrong guess"
			go func() {
				_, err := service.CreateUser(ctx, request)
				answers <- err
			}()
			<-ctx.Done()
		}
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := store.users.CreateUser(short, gracesSignUp()); err == nil {
			t.Error("the right password is answered before the wrong ones are recorded")
		}
		release()
		for range guesses {
			wantReason(t, <-answers, requestIDReused)
		}
		_, err = store.users.CreateUser(t.Context(), gracesSignUp())
		wantReason(t, err, requestIDReused)
		if got := store.refusals(t, root, first.GetUser().GetId(), storage.UserCreated); got != guesses {
			t.Errorf("%d refusals are audited, not %d", got, guesses)
		}
		bystander := gracesSignUp()
		bystander.Email, bystander.RequestId = "bystander@example.com", "another-request"
		for range 2 { // The second repeats the first.
			if _, err := store.users.CreateUser(t.Context(), bystander); err != nil {
				t.Errorf("a bystander: %v", err)
			}
		}
	})
	t.Run("a_failed_log-in_and_change_of_the_password_are_audited", func(t *testing.T) {
		withStore(t, func(t *testing.T, store *testStore, clock *clock) {
			root := as(t, store.logInRoot(t).GetAccessToken())
			own := store.logIn(t)
			userID := own.GetSession().GetUserId()
			for kind, call := range map[storage.EventKind]func(context.Context, *login.Service) error{
				storage.Login: func(ctx context.Context, service *login.Service) error {
					_, err := service.LogIn(ctx, adasEmail, "a wrong guess")
					return err
				},
				storage.PasswordChanged: func(ctx context.Context, service *login.Service) error {
					_, _, err := service.ChangePassword(ctx, login.Caller{UserID: userID}, "a wrong guess", "a new one")
					return err
				},
			} {
				ctx, now := leavingCaller(t, clock, map[storage.EventKind]int{storage.Login: 1, storage.PasswordChanged: 3}[kind])
				service := &login.Service{Storage: store.service.storage, Hasher: store.service.hasher, Now: now}
				if err := call(ctx, service); err == nil || ctx.Err() == nil {
					t.Errorf("%s: %v, and the caller left: %v", kind, err, ctx.Err())
				}
				if got := store.refusals(t, root, userID, kind); got != 1 {
					t.Errorf("%s: %d refusals are audited, not 1", kind, got)
				}
			}
			store.logIn(t) // A bystander.
		})
	})
}
