package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

func gracesSignUp() *gatehousev1.CreateUserRequest {
	return &gatehousev1.CreateUserRequest{
		Email: "grace@example.com", FullName: "Grace Hopper", Password: "a password of hers", RequestId: "a-request",
	}
}

// reusals counts the audited refusals of requests under a request id that was used for another.
func (s *testStore) reusals(t *testing.T, root context.Context, userID string) int {
	t.Helper()
	events := s.events(t, root, &gatehousev1.ListAuditEventsRequest{
		UserId: userID, Kind: gatehousev1.AuditEventKind_AUDIT_EVENT_KIND_USER_CREATED, StartTime: timestamppb.New(time.Unix(0, 0)),
	})
	return len(slices.DeleteFunc(events, func(event wantedEvent) bool { return event.reason != "REQUEST_ID_REUSED" }))
}

// TestCreateUser checks what a client can do that knows a request id, but not the password.
func TestCreateUser(t *testing.T) {
	t.Run("another_request_voids_the_request_id_and_is_audited", func(t *testing.T) {
		for name, change := range map[string]func(*gatehousev1.CreateUserRequest){
			"address":  func(other *gatehousev1.CreateUserRequest) { other.Email = "grace@example.org" },
			"name":     func(other *gatehousev1.CreateUserRequest) { other.FullName = "Grace" },
			"password": func(other *gatehousev1.CreateUserRequest) { other.Password += "!" },
		} {
			t.Run(name, func(t *testing.T) {
				withStore(t, func(t *testing.T, store *testStore, clock *clock) {
					root := as(t, store.logInRoot(t).GetAccessToken())
					first, err := store.users.CreateUser(t.Context(), gracesSignUp())
					if err != nil {
						t.Fatal(err)
					}
					other := gracesSignUp()
					change(other)
					for _, request := range []*gatehousev1.CreateUserRequest{other, other, gracesSignUp()} {
						_, err := store.users.CreateUser(t.Context(), request)
						wantReason(t, err, requestIDReused)
					}
					if got := store.reusals(t, root, first.GetUser().GetId()); got != 1 {
						t.Errorf("%d events tell of it, not 1", got)
					}
					clock.advance(24*time.Hour + time.Microsecond)
					_, err = store.users.CreateUser(t.Context(), gracesSignUp())
					wantReason(t, err, emailTaken) // It is another request by now.
				})
			})
		}
	})
	t.Run("of_guesses_sent_at_once_none_succeeds_after_one_has_failed", func(t *testing.T) {
		withStore(t, func(t *testing.T, store *testStore, _ *clock) {
			root := as(t, store.logInRoot(t).GetAccessToken())
			first, err := store.users.CreateUser(t.Context(), gracesSignUp())
			if err != nil {
				t.Fatal(err)
			}
			guesser := callctx.WithClient(t.Context(), callctx.Client{Address: "203.0.113.7"})
			bystander := callctx.WithClient(t.Context(), callctx.Client{Address: "198.51.100.7"})
			var calls sync.WaitGroup
			for i := range 50 {
				calls.Go(func() {
					request := gracesSignUp()
					request.Password = fmt.Sprintf("guess number %d", i)
					_, err := store.users.CreateUser(guesser, request)
					wantReason(t, err, requestIDReused)
				})
			}
			calls.Go(func() {
				request := gracesSignUp()
				request.Email, request.RequestId = "bystander@example.com", "another-request"
				for range 2 { // The second repeats the first.
					if _, err := store.users.CreateUser(bystander, request); err != nil {
						t.Errorf("a bystander: %v", err)
					}
				}
			})
			calls.Wait()
			_, err = store.users.CreateUser(t.Context(), gracesSignUp())
			wantReason(t, err, requestIDReused)
			if got := store.reusals(t, root, first.GetUser().GetId()); got < 1 || got > 50 {
				t.Errorf("%d events tell of it", got)
			}
			store.logInWith(t, gracesSignUp()) // The account is not touched.
		})
	})
	t.Run("a_request_id_is_compared_with_no_password_after_the_first_was_replaced", func(t *testing.T) {
		for name, end := range map[string]func(*testing.T, *testStore, *gatehousev1.CreateSessionResponse) error{
			"changed": func(t *testing.T, store *testStore, own *gatehousev1.CreateSessionResponse) error {
				_, err := store.sessions.ChangePassword(as(t, own.GetAccessToken()), &gatehousev1.ChangePasswordRequest{
					Id: "me", CurrentPassword: gracesSignUp().GetPassword(), NewPassword: "another of her passwords",
				})
				return err
			},
			"reset": func(t *testing.T, store *testStore, own *gatehousev1.CreateSessionResponse) error {
				_, err := store.admin.ResetUserPassword(as(t, store.logInRoot(t).GetAccessToken()),
					&gatehousev1.ResetUserPasswordRequest{Id: own.GetSession().GetUserId(), NewPassword: "another of her passwords"})
				return err
			},
			"disabled": func(t *testing.T, store *testStore, own *gatehousev1.CreateSessionResponse) error {
				_, err := store.admin.DisableUser(as(t, store.logInRoot(t).GetAccessToken()),
					&gatehousev1.DisableUserRequest{Id: own.GetSession().GetUserId()})
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				withStore(t, func(t *testing.T, store *testStore, _ *clock) {
					first, err := store.users.CreateUser(t.Context(), gracesSignUp())
					if err != nil {
						t.Fatal(err)
					}
					if err := end(t, store, store.logInWith(t, gracesSignUp())); err != nil {
						t.Fatal(err)
					}
					for _, password := range []string{"another of her passwords", gracesSignUp().GetPassword()} {
						request := proto.CloneOf(gracesSignUp())
						request.Password = password
						_, err := store.users.CreateUser(t.Context(), request)
						wantReason(t, err, requestIDReused)
					}
					root := as(t, store.logInAs(t, store.addUser(t, "auditor@example.com", true)).GetAccessToken())
					if got := store.reusals(t, root, first.GetUser().GetId()); got != 1 {
						t.Errorf("%d events tell of it, not 1", got)
					}
				})
			})
		}
	})
}
