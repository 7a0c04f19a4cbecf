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
	call   func(ctx context.Context, fix *accountFixture, r *replica) error
}{
	"a read": {"ReadSession", func(ctx context.Context, fix *accountFixture, r *replica) error {
		_, err := r.me(ctx, fix.store.anotherToken(fix.tablet))
		return err
	}},
	"an update": {"UpdateUser", func(ctx context.Context, fix *accountFixture, r *replica) error {
		return r.rename(ctx, fix.phone.GetAccessToken(), authn.Me, "Countess Lovelace")
	}},
	"an update by an admin": {"UpdateUser", func(ctx context.Context, fix *accountFixture, r *replica) error {
		return r.rename(ctx, fix.admin, fix.user, "Countess Lovelace")
	}},
	"an admin's setting of roles": {"SetRoles", func(ctx context.Context, fix *accountFixture, r *replica) error {
		return r.setRoles(ctx, fix.admin, fix.user, authn.RoleAdmin, authn.RoleUser)
	}},
	"a refresh": {"RefreshSession", func(ctx context.Context, fix *accountFixture, r *replica) error {
		_, err := r.refresh(ctx, fix.phone.GetRefreshToken())
		return err
	}},
	"a change of the password": {"ChangePassword", func(ctx context.Context, fix *accountFixture, r *replica) error {
		_, err := r.changePassword(ctx, fix.phone.GetAccessToken())
		return err
	}},
}

// Whatever has asked the store before a user was deleted does not put the user back when it is answered after that.
func TestNothingSlowBringsAUserBack(t *testing.T) {
	t.Parallel()
	for name, slow := range slow {
		for place, forget := range map[string]func(*testing.T, *accountFixture, *testkit.Redis){
			"Redis goes on":    func(*testing.T, *accountFixture, *testkit.Redis) {},
			"Redis is back":    func(t *testing.T, _ *accountFixture, server *testkit.Redis) { t.Helper(); restart(t, server) },
			"the run is known": warm,
		} {
			t.Run(name+", "+place, func(t *testing.T) {
				t.Parallel()
				env, server, _ := newRedisEnvOf(t, 2)
				house := env.newFixture(t)
				house.tablet = env.store.token(house.user)
				seen, answer := env.store.block(slow.method)
				answered := make(chan error, 1)
				go func() { answered <- slow.call(t.Context(), house, env.replicas[1]) }()
				<-seen
				if err := env.deleteUser(t.Context(), env.admin, house.user); err != nil {
					t.Fatal(err)
				}
				forget(t, house, server)
				close(answer)
				if err := <-answered; err != nil {
					t.Fatalf("what began before the deletion: %v", err)
				}
				house.wantDeleted(t)
			})
		}
	}
}

// known restarts the Redis, and lets all know it.
func warm(t *testing.T, fix *accountFixture, server *testkit.Redis) {
	t.Helper()
	restart(t, server)
	other := fix.store.token(fix.store.put("grace@example.com"))
	for _, r := range fix.replicas {
		r.wantIn(t, fix.store, other)
	}
}

// wantGone insists that no session of the user is let in, and that the store has the last word on it.
func (fix *accountFixture) wantDeleted(t *testing.T) {
	t.Helper()
	for range 2 {
		for _, token := range []string{fix.phone.GetAccessToken(), fix.laptop.GetAccessToken()} {
			fix.wantOut(t, token, sessionEnded)
		}
		if fix.tablet != "" {
			fix.wantOut(t, fix.tablet, sessionEnded)
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
			env, server, client := newRedisEnvOf(t, 2)
			house := env.newFixture(t)
			if err := client.Save(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			var once sync.Once
			env.store.hook(nil, func(_ context.Context, method, _ string) error {
				if !strings.HasPrefix(method, "Read") {
					once.Do(server.Kill)
				}
				return nil
			})
			if err := way.end(t, house, env.replicas[1]); err != nil {
				t.Fatal(err)
			}
			env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
			env.readUntilCached(t, env.store.put("grace@example.com"))
			env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
			if !way.spares {
				env.wantOut(t, house.laptop.GetAccessToken(), sessionEnded)
			}
		})
	}
}

// What could not be told of a deletion is remembered, and not believed meanwhile.
func TestADeletionThatRedisMissedIsToldLater(t *testing.T) {
	t.Parallel()
	env, server, _ := newRedisEnvOf(t, 2)
	house := env.newFixture(t)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := env.deleteUser(t.Context(), house.phone.GetAccessToken(), authn.Me); err != nil {
		t.Fatal(err)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{house.phone.GetAccessToken(), house.laptop.GetAccessToken()} {
		env.replica.wantOut(t, token, sessionEnded)
	}
	testkit.Eventually(t, func() error {
		_, err := env.replicas[1].me(t.Context(), house.laptop.GetAccessToken())
		if apierr.ReasonOf(status.Convert(err)) != sessionEnded {
			return errors.New("another service was not told")
		}
		return nil
	})
	house.wantDeleted(t)
}

// An address is free again when its account is deleted, and what is known of the old account is nothing of the new.
func TestTheAddressOfADeletedUserHasANewOwner(t *testing.T) {
	t.Parallel()
	fix := newAccountFixture(t, 2)
	if err := fix.replicas[1].deleteUser(t.Context(), fix.phone.GetAccessToken(), authn.Me); err != nil {
		t.Fatal(err)
	}
	if again := fix.signUp(t, "ada@example.com"); again == fix.user {
		t.Fatal("the id was given again")
	}
	token := fix.logIn(t, "ada@example.com").GetAccessToken()
	for _, r := range fix.replicas {
		r.wantIn(t, fix.store, token)
	}
	fix.wantDeleted(t)
}

func TestWhatWasChangedIsSeenEverywhere(t *testing.T) {
	t.Parallel()
	for name, way := range updates {
		for outcome, after := range map[string]hook{"and told": nil, "and lost": loseAnswer} {
			t.Run(name+" "+outcome, func(t *testing.T) {
				t.Parallel()
				fix := newAccountFixture(t, 2)
				fix.store.hook(nil, after)
				if err := way.end(t, fix, fix.replicas[1]); (err != nil) != (after != nil) {
					t.Fatal(err)
				}
				for _, r := range fix.replicas {
					r.wantIn(t, fix.store, fix.phone.GetAccessToken())
					r.wantIn(t, fix.store, fix.laptop.GetAccessToken())
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
			fix := newAccountFixture(t, 2)
			before := fix.store.readCount()
			if err := way.end(t, fix, fix.replicas[1]); err != nil {
				t.Fatal(err)
			}
			for _, r := range fix.replicas {
				r.wantIn(t, fix.store, fix.phone.GetAccessToken())
			}
			fix.wantReads(t, before)
		})
	}
}

// What only admins may see is in every answer of the store, and in nothing that is kept, whatever was called.
func TestWhatOnlyAdminsMaySeeIsNotKept(t *testing.T) {
	t.Parallel()
	env, _, client := newRedisEnvOf(t, 2)
	for i, ways := range []map[string]revocation{ends, updates} {
		for name, way := range ways {
			house := env.newFixtureOf(t, rand.Text()+"@example.com")
			if err := way.end(t, house, env.replicas[i]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			_, err := env.users.ReadUser(as(t.Context(), env.admin), &gatehousev1.ReadUserRequest{Id: house.user})
			if gone := env.store.user(house.user) == nil; gone != (err != nil) {
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
