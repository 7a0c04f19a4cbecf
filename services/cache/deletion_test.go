package cache_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// slow are calls that see a user whom somebody deletes before they are answered.
var slow = map[string]struct {
	method string
	call   func(ctx context.Context, h *household, f *front) error
}{
	"a read": {"ReadSession", func(ctx context.Context, h *household, f *front) error {
		_, err := f.me(ctx, h.store.another(h.tablet))
		return err
	}},
	"an update": {"UpdateUser", func(ctx context.Context, h *household, f *front) error {
		return f.rename(ctx, h.phone.GetAccessToken(), authn.Me, "Countess Lovelace")
	}},
	"an update by an admin": {"UpdateUser", func(ctx context.Context, h *household, f *front) error {
		return f.rename(ctx, h.admin, h.user, "Countess Lovelace")
	}},
	"an admin's setting of roles": {"SetRoles", func(ctx context.Context, h *household, f *front) error {
		return f.setRoles(ctx, h.admin, h.user, authn.RoleAdmin, authn.RoleUser)
	}},
	"a refresh": {"RefreshSession", func(ctx context.Context, h *household, f *front) error {
		_, err := f.refresh(ctx, h.phone.GetRefreshToken())
		return err
	}},
	"a change of the password": {"ChangePassword", func(ctx context.Context, h *household, f *front) error {
		_, err := f.changePassword(ctx, h.phone.GetAccessToken())
		return err
	}},
}

// Whatever has asked the store before a user was deleted does not put the user back when it is answered after that.
func TestNothingSlowBringsAUserBack(t *testing.T) {
	t.Parallel()
	for name, slow := range slow {
		for place, forget := range map[string]func(*testing.T, *household, *testkit.Redis){
			"Redis goes on":    func(*testing.T, *household, *testkit.Redis) {},
			"Redis is back":    func(t *testing.T, _ *household, server *testkit.Redis) { t.Helper(); restart(t, server) },
			"the run is known": known,
		} {
			t.Run(name+", "+place, func(t *testing.T) {
				t.Parallel()
				h, server, _ := newRedisTown(t, 2)
				house := h.household(t)
				house.tablet = h.store.token(house.user)
				seen, answer := h.store.hold(slow.method)
				answered := make(chan error, 1)
				go func() { answered <- slow.call(t.Context(), house, h.others[1]) }()
				<-seen
				if err := h.deleteUser(t.Context(), h.admin, house.user); err != nil {
					t.Fatal(err)
				}
				forget(t, house, server)
				close(answer)
				if err := <-answered; err != nil {
					t.Fatalf("what began before the deletion: %v", err)
				}
				house.wantGone(t)
			})
		}
	}
}

// known restarts the Redis, and lets all know it.
func known(t *testing.T, h *household, server *testkit.Redis) {
	t.Helper()
	restart(t, server)
	other := h.store.token(h.store.put("grace@example.com"))
	for _, f := range h.others {
		f.wantIn(t, h.store, other)
	}
}

// wantGone insists that no session of the user is let in, and that the store has the last word on it.
func (h *household) wantGone(t *testing.T) {
	t.Helper()
	for range 2 {
		for _, token := range []string{h.phone.GetAccessToken(), h.laptop.GetAccessToken()} {
			h.wantOut(t, token, sessionEnded)
		}
		if h.tablet != "" {
			h.wantOut(t, h.tablet, sessionEnded)
		}
	}
}

// The Redis dies when the store has committed, before it can be told, and comes back with what it knew before.
func TestWhatRedisDiedBeforeItWasTold(t *testing.T) {
	t.Parallel()
	for name, way := range ends {
		if name == "reuse a refresh token" {
			continue // What becomes of a refresh is elsewhere.
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, server, client := newRedisTown(t, 2)
			house := h.household(t)
			if err := client.Save(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			var once sync.Once
			h.store.hook(nil, func(_ context.Context, method, _ string) error {
				if !strings.HasPrefix(method, "Read") {
					once.Do(server.Kill)
				}
				return nil
			})
			if err := way.end(t, house, h.others[1]); err != nil {
				t.Fatal(err)
			}
			h.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			h.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
			h.untilUsed(t, h.store.put("grace@example.com"))
			h.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
			if !way.spares {
				h.wantOut(t, house.laptop.GetAccessToken(), sessionEnded)
			}
		})
	}
}

// What could not be told of a deletion is remembered, and not believed meanwhile.
func TestADeletionThatRedisMissedIsToldLater(t *testing.T) {
	t.Parallel()
	h, server, _ := newRedisTown(t, 2)
	house := h.household(t)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := h.deleteUser(t.Context(), house.phone.GetAccessToken(), authn.Me); err != nil {
		t.Fatal(err)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{house.phone.GetAccessToken(), house.laptop.GetAccessToken()} {
		h.front.wantOut(t, token, sessionEnded)
	}
	testkit.Eventually(t, func() error {
		_, err := h.others[1].me(t.Context(), house.laptop.GetAccessToken())
		if apierr.ReasonOf(status.Convert(err)) != sessionEnded {
			return errors.New("another service was not told")
		}
		return nil
	})
	house.wantGone(t)
}

// An address is free again when its account is deleted, and what is known of the old account is nothing of the new.
func TestTheAddressOfADeletedUserHasANewOwner(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	if err := h.others[1].deleteUser(t.Context(), h.phone.GetAccessToken(), authn.Me); err != nil {
		t.Fatal(err)
	}
	if again := h.signUp(t, "ada@example.com"); again == h.user {
		t.Fatal("the id was given again")
	}
	token := h.logIn(t, "ada@example.com").GetAccessToken()
	for _, f := range h.others {
		f.wantIn(t, h.store, token)
	}
	h.wantGone(t)
}

func TestWhatWasChangedIsSeenEverywhere(t *testing.T) {
	t.Parallel()
	for name, way := range updates {
		for outcome, after := range map[string]hook{"and told": nil, "and lost": lose} {
			t.Run(name+" "+outcome, func(t *testing.T) {
				t.Parallel()
				h := newHousehold(t, 2)
				h.store.hook(nil, after)
				if err := way.end(t, h, h.others[1]); (err != nil) != (after != nil) {
					t.Fatal(err)
				}
				for _, f := range h.others {
					f.wantIn(t, h.store, h.phone.GetAccessToken())
					f.wantIn(t, h.store, h.laptop.GetAccessToken())
				}
			})
		}
	}
}

// Once the store has told the cache what a change made of a user, nobody has to ask it again.
func TestWhatWasChangedIsKept(t *testing.T) {
	t.Parallel()
	for name, way := range updates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, 2)
			before := h.store.readCount()
			if err := way.end(t, h, h.others[1]); err != nil {
				t.Fatal(err)
			}
			for _, f := range h.others {
				f.wantIn(t, h.store, h.phone.GetAccessToken())
			}
			h.wantReads(t, before)
		})
	}
}

// What only admins may see is in every answer of the store, and in nothing that is kept, whatever was called.
func TestWhatOnlyAdminsMaySeeIsNotKept(t *testing.T) {
	t.Parallel()
	h, _, client := newRedisTown(t, 2)
	for i, ways := range []map[string]way{ends, updates} {
		for name, way := range ways {
			house := h.householdOf(t, rand.Text()+"@example.com")
			if err := way.end(t, house, h.others[i]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			_, err := h.users.ReadUser(as(t.Context(), h.admin), &gatehousev1.ReadUserRequest{Id: house.user})
			if gone := h.store.user(house.user) == nil; gone != (err != nil) {
				t.Errorf("%s: %v", name, err)
			}
			keys := client.Keys(t.Context(), "*").Val()
			for _, key := range keys {
				wantNoSecret(t, key, client.Get(t.Context(), key).Val(), []string{forAdmins, "tier"})
			}
			if len(keys) == 0 {
				t.Errorf("%s: nothing is kept at all", name)
			}
		}
	}
}
