//go:build servers

package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/status"

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

// warm restarts Redis, and waits until all cache services have identified it.
func warm(t *testing.T, fix *accountFixture, server *testkit.Redis) {
	t.Helper()
	restart(t, server)
	other := fix.store.token(fix.store.put("grace@example.com"))
	for _, r := range fix.replicas {
		r.wantIn(t, fix.store, other)
	}
}

func TestRedisDeleteUser(t *testing.T) {
	t.Parallel()
	// Whatever has asked the store before a user was deleted does not put the user back when it is answered after that.
	t.Run("a_slow_call_does_not_restore_the_user", func(t *testing.T) {
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
					fix := env.newFixture(t)
					fix.tablet = env.store.token(fix.user)
					seen, answer := env.store.block(slow.method)
					answered := make(chan error, 1)
					go func() { answered <- slow.call(t.Context(), fix, env.replicas[1]) }()
					<-seen
					if err := env.deleteUser(t.Context(), env.admin, fix.user); err != nil {
						t.Fatal(err)
					}
					forget(t, fix, server)
					close(answer)
					if err := <-answered; err != nil {
						t.Fatalf("what began before the deletion: %v", err)
					}
					fix.wantDeleted(t)
				})
			}
		}
	})
	// What could not be notified of a deletion is remembered, and not accepted meanwhile.
	t.Run("is_invalidated_later_if_Redis_hangs", func(t *testing.T) {
		t.Parallel()
		env, server, _ := newRedisEnvOf(t, 2)
		fix := env.newFixture(t)
		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := env.deleteUser(t.Context(), fix.phone.GetAccessToken(), authn.Me); err != nil {
			t.Fatal(err)
		}
		if err := server.Thaw(); err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{fix.phone.GetAccessToken(), fix.laptop.GetAccessToken()} {
			env.replica.wantOut(t, token, sessionEnded)
		}
		testkit.Eventually(t, func() error {
			_, err := env.replicas[1].me(t.Context(), fix.laptop.GetAccessToken())
			if apierr.ReasonOf(status.Convert(err)) != sessionEnded {
				return errors.New("another service was not told")
			}
			return nil
		})
		fix.wantDeleted(t)
	})
}

func TestRedisRestart(t *testing.T) {
	t.Parallel()
	// The Redis dies when the store has committed, before it can be told, and comes back with what it knew before.
	t.Run("a_change_during_the_restart_is_visible", func(t *testing.T) {
		t.Parallel()
		for name, way := range ends {
			if name == "reuse a refresh token" {
				continue // What becomes of a refresh is elsewhere.
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				env, server, client := newRedisEnvOf(t, 2)
				fix := env.newFixture(t)
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
				if err := way.end(t, fix, env.replicas[1]); err != nil {
					t.Fatal(err)
				}
				env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
				if err := server.Start(); err != nil {
					t.Fatal(err)
				}
				env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
				env.readUntilCached(t, env.store.put("grace@example.com"))
				env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
				if !way.spares {
					env.wantOut(t, fix.laptop.GetAccessToken(), sessionEnded)
				}
			})
		}
	})
	// The Redis dies when the store has committed the end, and comes back before anybody asks.
	t.Run("a_tombstone_is_found_again", func(t *testing.T) {
		t.Parallel()
		env, server, client := newRedisEnvOf(t, 3)
		fix := env.newFixture(t)
		if err := client.Save(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		seen, answer := env.store.block("DeleteSession")
		ended := make(chan error, 1)
		go func() { ended <- env.replicas[1].logOut(t.Context(), fix.phone.GetAccessToken(), authn.Current) }()
		<-seen
		server.Kill()
		close(answer)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
		env.readUntilCached(t, fix.user)
		env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
	})
	// The Redis comes back with what it knew before the end.
	t.Run("restored_entries_are_not_used", func(t *testing.T) {
		t.Parallel()
		for name, way := range ends {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				env, server, client := newRedisEnvOf(t, 2)
				fix := env.newFixture(t)
				if err := client.Save(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				if err := way.end(t, fix, env.replicas[1]); err != nil {
					t.Fatal(err)
				}
				restart(t, server)
				if size := client.DBSize(t.Context()).Val(); size == 0 {
					t.Fatal("the Redis came back without its data")
				}
				env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
				if way.spares {
					env.wantIn(t, env.store, fix.laptop.GetAccessToken())
				}
			})
		}
	})
}

func TestRedisTombstone(t *testing.T) {
	t.Parallel()
	// A read that is slow has seen a session that stood. Meanwhile somebody logged out, and the Redis has forgotten that.
	t.Run("survives_a_slow_read", func(t *testing.T) {
		t.Parallel()
		for name, forget := range map[string]func(*testing.T, *testkit.Redis){
			"Redis goes on":         func(*testing.T, *testkit.Redis) {},
			"Redis comes back new":  restart,
			"Redis comes back late": restart,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				env, server, _ := newRedisEnvOf(t, 3)
				fix := env.newFixture(t)
				tablet := env.store.token(fix.user)
				seen, answer := env.store.block("ReadSession")
				read := make(chan error, 1)
				go func() {
					_, err := env.replicas[1].me(t.Context(), tablet)
					read <- err
				}()
				<-seen
				if err := env.logOut(t.Context(), tablet, authn.Current); err != nil {
					t.Fatal(err)
				}
				forget(t, server)
				if name == "Redis comes back late" {
					env.replicas[1].wantIn(t, env.store, fix.phone.GetAccessToken()) // It knows the new run.
				}
				close(answer)
				if err := <-read; err != nil {
					t.Fatalf("a read that began before the log-out: %v", err)
				}
				env.wantOut(t, tablet, sessionEnded)
			})
		}
	})
	// A refresh that is slow was committed before somebody logged out, and would be kept after the Redis has forgotten
	// that.
	t.Run("survives_a_slow_refresh", func(t *testing.T) {
		t.Parallel()
		env, server, _ := newRedisEnvOf(t, 3)
		fix := env.newFixture(t)
		seen, answer := env.store.block("RefreshSession")
		refreshed := make(chan error, 1)
		go func() {
			_, err := env.replicas[1].refresh(t.Context(), fix.phone.GetRefreshToken())
			refreshed <- err
		}()
		<-seen
		if err := env.logOut(t.Context(), fix.phone.GetAccessToken(), authn.Current); err != nil {
			t.Fatal(err)
		}
		restart(t, server)
		for _, r := range env.replicas { // The Redis knows the user again, and all know the Redis.
			r.wantIn(t, env.store, fix.laptop.GetAccessToken())
		}
		close(answer)
		if err := <-refreshed; err != nil {
			t.Fatal(err)
		}
		env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
	})
}
