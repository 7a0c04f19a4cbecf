package store

import (
	"log/slog"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/operator"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// TestNewPasswords holds that the policy applies wherever a password is chosen, with the words of the account that it
// is for, and nowhere else.
func TestNewPasswords(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		root, own := as(t, store.logInRoot(t).GetAccessToken()), store.logIn(t)
		chosen := map[string]func(string) error{
			"a sign-up": func(password string) error {
				_, err := store.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
					Email: "ada@example.org", FullName: "Ada Lovelace", Password: password,
				})
				return err
			},
			"a sign-up that can be sent again": func(password string) error {
				_, err := store.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{
					Email: "ada@example.org", FullName: "Ada Lovelace", Password: password, RequestId: "1",
				})
				return err
			},
			"a change": func(password string) error {
				_, err := store.sessions.ChangePassword(as(t, own.GetAccessToken()), &gatehousev1.ChangePasswordRequest{
					Id: "me", CurrentPassword: adasPassword, NewPassword: password,
				})
				return err
			},
			"a reset": func(password string) error {
				_, err := store.admin.ResetUserPassword(root, &gatehousev1.ResetUserPasswordRequest{
					Id: own.GetSession().GetUserId(), NewPassword: password,
				})
				return err
			},
			"an administrator": func(password string) error {
				admin := operator.AdminConfig{
					Database: store.service.config.Database, Password: store.service.config.Password,
					Email: "ada@example.org", FullName: "Ada Lovelace",
				}
				_, err := operator.CreateAdmin(t.Context(), admin, password, slog.New(slog.DiscardHandler))
				return err
			},
		}
		for name, choose := range chosen {
			for password, reason := range map[string]string{
				"12345678": "PASSWORD_TOO_COMMON", "Ada-Lovelace": "PASSWORD_OF_ACCOUNT", "Gatehouse1": "PASSWORD_OF_ACCOUNT",
			} {
				err := choose(password)
				field := "new_password "
				switch name {
				case "an administrator":
					if err == nil {
						t.Errorf("%s gets %s", name, password)
					}
					continue
				case "a sign-up", "a sign-up that can be sent again":
					field = "password "
				}
				if got := faults(err); got != field+reason {
					t.Errorf("%s with %s: the fault is %q", name, password, got)
				}
			}
		}
		_, err := store.sessions.CreateSession(t.Context(),
			&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: "12345678"})
		wantReason(t, err, badCredentials) // A log-in is told nothing of the rules.
	})
}
