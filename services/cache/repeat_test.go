package cache_test

import (
	"testing"

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
	h.store.spare(h.store.sessions[h.laptop.GetSessionId()], user)
	h.store.mu.Unlock()
	_, err := h.others[1].sessions.ChangePassword(as(t.Context(), h.laptop.GetAccessToken()),
		&gatehousev1.ChangePasswordRequest{Id: authn.Me, CurrentPassword: "the old one", NewPassword: "the new one"})
	if err == nil {
		t.Error("the old password is good still")
	}
	h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
}
