package cache_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// In these tests a cache service has died between the commit of a change and its write to Redis: the store has it, Redis
// does not. The owner repeats the call at another one, and is told that it has happened. Then it must have.

func TestTheRepeatOfALogOutEverywhereMakesItKnown(t *testing.T) {
	h := newHousehold(t, 2)
	h.store.mu.Lock()
	h.store.raise(h.store.users[h.user])
	h.store.mu.Unlock()
	if err := h.others[1].logOutEverywhere(t.Context(), h.laptop.GetAccessToken(), false); err == nil {
		t.Error("the repeat has a session to call with")
	}
	h.wantOut(t, h.laptop.GetAccessToken(), sessionEnded)
	h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
}

func TestTheRepeatOfAChangeOfThePasswordMakesItKnown(t *testing.T) {
	h := newHousehold(t, 2)
	h.store.mu.Lock()
	user := h.store.users[h.user]
	h.store.raise(user)
	h.store.replace(h.store.sessions[h.laptop.GetSessionId()], user)
	h.store.mu.Unlock()
	_, err := h.others[1].sessions.ChangePassword(as(t.Context(), h.laptop.GetAccessToken()),
		&gatehousev1.ChangePasswordRequest{Id: authn.Me, CurrentPassword: "the old one", NewPassword: "the new one"})
	if err == nil {
		t.Error("the old password is good still")
	}
	h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
}

// untold makes a change of a user that no cache hears of.
func (h *household) untold(change func(user *gatehousev1.User)) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	user := h.store.users[h.user]
	user.Version++
	change(user)
}

func TestTheRepeatOfAnUpdateMakesItKnown(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]int64{"for a version": 1, "for any": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, 2)
			h.untold(func(user *gatehousev1.User) { user.FullName = "Countess Lovelace" })
			_, err := h.others[1].users.UpdateUser(as(t.Context(), h.laptop.GetAccessToken()), &gatehousev1.UpdateUserRequest{
				User: &gatehousev1.User{Id: authn.Me, FullName: "Countess Lovelace"}, Version: version,
			})
			if version == 0 && err != nil {
				t.Error(err)
			} else if version != 0 {
				wantError(t, err, codes.Aborted, gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH)
			}
			for _, f := range h.others {
				f.wantIn(t, h.store, h.phone.GetAccessToken())
			}
		})
	}
}

func TestTheRepeatOfADeletionMakesItKnown(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(h *household, f *front) error{
		"by the user": func(h *household, f *front) error {
			return f.deleteUser(t.Context(), h.laptop.GetAccessToken(), authn.Me)
		},
		"by an admin": func(h *household, f *front) error {
			return f.deleteUser(t.Context(), h.admin, h.user)
		},
		"by an admin who looks": func(h *household, f *front) error {
			_, err := f.users.ReadUser(as(t.Context(), h.admin), &gatehousev1.ReadUserRequest{Id: h.user})
			return err
		},
		"by an admin who disables": func(h *household, f *front) error {
			return f.disable(t.Context(), h.admin, h.user)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, 2)
			h.untold(func(user *gatehousev1.User) { h.store.remove(user.GetId()) })
			if err := again(h, h.others[1]); err == nil {
				t.Error("there is a user to delete")
			}
			h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
			h.wantOut(t, h.laptop.GetAccessToken(), sessionEnded)
		})
	}
}

func TestTheRepeatOfADisablingMakesItKnown(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	h.untold(func(user *gatehousev1.User) { disable(user) })
	if err := h.others[1].disable(t.Context(), h.admin, h.user); err != nil {
		t.Fatal(err)
	}
	h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
}

func TestTheRepeatOfADemotionMakesItKnown(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	token := h.promote(t)
	h.untold(func(user *gatehousev1.User) { user.Roles = []string{authn.RoleUser} })
	if err := h.others[1].setRoles(t.Context(), h.admin, h.user, authn.RoleUser); err != nil {
		t.Fatal(err)
	}
	h.wantNoAdmin(t, token)
}

// The store refuses one call of an admin whom the cache takes for one still: then no cache takes the admin for one.
func TestARefusalOfTheStoreMakesADemotionKnown(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(h *household, token string) error{
		"a change": func(h *household, token string) error {
			return h.disable(t.Context(), token, authn.Me)
		},
		"a read": func(h *household, token string) error {
			return h.listUsers(t.Context(), token)
		},
		"an update": func(h *household, token string) error {
			_, err := h.users.UpdateUser(as(t.Context(), token), &gatehousev1.UpdateUserRequest{
				User: &gatehousev1.User{Id: authn.Me, AppMetadata: h.store.user(h.user).GetAppMetadata()},
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, 2)
			token := h.promote(t)
			h.untold(func(user *gatehousev1.User) { user.Roles = []string{authn.RoleUser} })
			wantError(t, call(h, token), codes.PermissionDenied, roleRequired)
			h.wantNoAdmin(t, token)
			for _, f := range h.others {
				f.wantIn(t, h.store, token)
			}
		})
	}
}

// A user who asks for what only admins may do costs nobody a read of the store.
func TestWhoWasNoAdminIsNotMistrusted(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 1)
	before := h.store.readCount()
	_, err := h.users.UpdateUser(as(t.Context(), h.phone.GetAccessToken()), &gatehousev1.UpdateUserRequest{
		User: &gatehousev1.User{Id: authn.Me, AppMetadata: h.store.user(h.user).GetAppMetadata()},
	})
	wantError(t, err, codes.PermissionDenied, roleRequired)
	h.wantIn(t, h.store, h.phone.GetAccessToken())
	h.wantReads(t, before)
}
