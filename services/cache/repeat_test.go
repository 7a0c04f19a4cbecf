package cache_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// In these tests a cache service has died between the commit of a change and its write to Redis: the store has it,
// Redis does not. The owner repeats the call at another one, and is told that it has happened. Then it must have.

// changeSilently changes the user past the cache services.
func (fix *accountFixture) changeSilently(change func(user *gatehousev1.User)) {
	fix.store.mu.Lock()
	defer fix.store.mu.Unlock()
	user := fix.store.users[fix.user]
	user.Version++
	change(user)
}

func TestRepeatedChange(t *testing.T) {
	t.Parallel()
	t.Run("log_out_everywhere", func(t *testing.T) {
		fix := newAccountFixture(t, 2)
		fix.store.mu.Lock()
		fix.store.endAllSessions(fix.store.users[fix.user])
		fix.store.mu.Unlock()
		if err := fix.replicas[1].logOutEverywhere(t.Context(), fix.laptop.GetAccessToken(), false); err == nil {
			t.Error("the repeat has a session to call with")
		}
		fix.wantOut(t, fix.laptop.GetAccessToken(), sessionEnded)
		fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
	})
	t.Run("change_of_the_password", func(t *testing.T) {
		fix := newAccountFixture(t, 2)
		fix.store.mu.Lock()
		user := fix.store.users[fix.user]
		fix.store.endAllSessions(user)
		fix.store.replace(fix.store.sessions[fix.laptop.GetSessionId()], user)
		fix.store.mu.Unlock()
		_, err := fix.replicas[1].sessions.ChangePassword(as(t.Context(), fix.laptop.GetAccessToken()),
			&gatehousev1.ChangePasswordRequest{Id: authn.Me, CurrentPassword: "the old one", NewPassword: "the new one"})
		if err == nil {
			t.Error("the old password is good still")
		}
		fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
	})
	t.Run("update", func(t *testing.T) {
		t.Parallel()
		for name, version := range map[string]int64{"for a version": 1, "for any": 0} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fix := newAccountFixture(t, 2)
				fix.changeSilently(func(user *gatehousev1.User) { user.FullName = "Countess Lovelace" })
				_, err := fix.replicas[1].users.UpdateUser(as(t.Context(), fix.laptop.GetAccessToken()), &gatehousev1.UpdateUserRequest{
					User: &gatehousev1.User{Id: authn.Me, FullName: "Countess Lovelace"}, Version: version,
				})
				if version == 0 && err != nil {
					t.Error(err)
				} else if version != 0 {
					wantError(t, err, codes.Aborted, gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH)
				}
				for _, r := range fix.replicas {
					r.wantIn(t, fix.store, fix.phone.GetAccessToken())
				}
			})
		}
	})
	t.Run("deletion", func(t *testing.T) {
		t.Parallel()
		for name, again := range map[string]func(fix *accountFixture, r *replica) error{
			"by the user": func(fix *accountFixture, r *replica) error {
				return r.deleteUser(t.Context(), fix.laptop.GetAccessToken(), authn.Me)
			},
			"by an admin": func(fix *accountFixture, r *replica) error {
				return r.deleteUser(t.Context(), fix.admin, fix.user)
			},
			"by an admin who looks": func(fix *accountFixture, r *replica) error {
				_, err := r.users.ReadUser(as(t.Context(), fix.admin), &gatehousev1.ReadUserRequest{Id: fix.user})
				return err
			},
			"by an admin who disables": func(fix *accountFixture, r *replica) error {
				return r.disable(t.Context(), fix.admin, fix.user)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fix := newAccountFixture(t, 2)
				fix.changeSilently(func(user *gatehousev1.User) { fix.store.remove(user.GetId()) })
				if err := again(fix, fix.replicas[1]); err == nil {
					t.Error("there is a user to delete")
				}
				fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
				fix.wantOut(t, fix.laptop.GetAccessToken(), sessionEnded)
			})
		}
	})
	t.Run("disabling", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		fix.changeSilently(func(user *gatehousev1.User) { disable(user) })
		if err := fix.replicas[1].disable(t.Context(), fix.admin, fix.user); err != nil {
			t.Fatal(err)
		}
		fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
	})
	t.Run("demotion", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		token := fix.promote(t)
		fix.changeSilently(func(user *gatehousev1.User) { user.Roles = []string{authn.RoleUser} })
		if err := fix.replicas[1].setRoles(t.Context(), fix.admin, fix.user, authn.RoleUser); err != nil {
			t.Fatal(err)
		}
		fix.wantNoAdmin(t, token)
	})
}
