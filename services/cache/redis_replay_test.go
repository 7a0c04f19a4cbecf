//go:build servers

package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// recording is what an attacker with access to Redis has read there.
type recording map[string]string

func record(t *testing.T, client *redis.Client) recording {
	t.Helper()
	recorded := recording{}
	for _, key := range client.Keys(t.Context(), "*{0*").Val() { // Of users, whose ids all begin so; not the cursor.
		recorded[key] = client.Get(t.Context(), key).Val()
	}
	if len(recorded) < 2 {
		t.Fatalf("there are %d entries to record", len(recorded))
	}
	return recorded
}

// replay stores everything again, without an expiry.
func (rec recording) replay(t *testing.T, client *redis.Client) {
	t.Helper()
	for key, value := range rec {
		if err := client.Set(t.Context(), key, value, redis.KeepTTL).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Persist(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// wantRefused replays the entries until the service has received the change by the feed, and then some more: none may
// be used then.
func (rec recording) wantRefused(t *testing.T, r *replica, client *redis.Client, check func(*replica) error) {
	t.Helper()
	attack := func() error {
		rec.replay(t, client)
		return check(r)
	}
	testkit.Eventually(t, attack)
	for range 5 {
		if err := attack(); err != nil {
			t.Fatalf("a replayed entry was used: %v", err)
		}
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, env *testEnv, userID, token string) (feed *internalv1.Change, check func(*replica) error){
		"of a session that has ended is not used": func(
			t *testing.T, env *testEnv, userID, token string,
		) (*internalv1.Change, func(*replica) error) {
			t.Helper()
			sessionID := env.store.session(token).GetId()
			if err := env.logOut(t.Context(), token, authn.Current); err != nil {
				t.Fatal(err)
			}
			return &internalv1.Change{UserId: userID, SessionId: sessionID, Ended: true}, refuses(t, token)
		},
		"of a user who was changed elsewhere is not used": func(
			t *testing.T, env *testEnv, userID, token string,
		) (*internalv1.Change, func(*replica) error) {
			t.Helper()
			renamed := env.store.changeSilently(userID, func(user *gatehousev1.User) { user.FullName = "Ada King" })
			return renamed, func(r *replica) error {
				user, err := r.me(t.Context(), token)
				if want := env.store.profile(token); err == nil && !proto.Equal(user, want) {
					err = fmt.Errorf("the user is %v, want %v", user, want)
				}
				return err
			}
		},
		"of a user who was deleted is not used": func(
			t *testing.T, env *testEnv, userID, token string,
		) (*internalv1.Change, func(*replica) error) {
			t.Helper()
			version := env.store.user(userID).GetVersion()
			if err := env.deleteUser(t.Context(), token, userID); err != nil {
				t.Fatal(err)
			}
			return &internalv1.Change{UserId: userID, Version: version + 1, Ended: true}, refuses(t, token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, _, client := newRedisEnvOf(t, 2)
			ada := env.store.put("ada@example.com")
			token := env.store.token(ada)
			for _, r := range env.replicas {
				r.wantIn(t, env.store, token)
			}
			recorded := record(t, client)
			published, check := change(t, env, ada, token)
			if !published.GetEnded() { // Nobody but the feed knows of it.
				env.feed.publish(published)
			} else {
				recorded.replay(t, client)
				if err := check(env.replica); err != nil { // The feed has published nobody yet.
					t.Errorf("the service that made the change returns the state before it: %v", err)
				}
				env.feed.publish(published)
			}
			for _, r := range env.replicas {
				recorded.wantRefused(t, r, client, check)
			}
			late := env.addReplica(t, env.config, func() {})
			recorded.replay(t, client)
			if err := check(late); err != nil {
				t.Errorf("a service that started later returns the state before it: %v", err)
			}
			// Somebody else is served from the cache as before.
			grace := env.store.put("grace@example.com")
			env.read(t, grace)
			reads := env.store.readCount()
			env.read(t, grace)
			env.wantReads(t, reads)
		})
	}
	t.Run("leaves_an_entry_that_is_outdated_to_be_replaced_so_that_the_next_call_is_a_hit_again", func(t *testing.T) {
		t.Parallel()
		env, _, client := newRedisEnvOf(t, 1)
		ada := env.store.put("ada@example.com")
		env.read(t, ada)
		env.feed.publish(env.store.changeSilently(env.store.put("grace@example.com"), func(*gatehousev1.User) {}))
		// A service that starts now does not know earlier changes: it reads the store once, although the entry is genuine.
		late := env.addReplica(t, env.config, func() { env.wantCursor(t, client, 1) })
		late.wantIn(t, env.store, env.tokens[ada])
		reads := env.store.readCount()
		for _, r := range []*replica{late, env.replica} {
			r.wantIn(t, env.store, env.tokens[ada])
		}
		env.wantReads(t, reads)
	})
}

// refuses returns a check that a service refuses the token.
func refuses(t *testing.T, token string) func(*replica) error {
	t.Helper()
	return func(r *replica) error {
		if user, err := r.me(t.Context(), token); err == nil {
			return fmt.Errorf("it is let in as %s", user.GetId())
		}
		return nil
	}
}

// wantCursor waits until the cache services have noted in Redis that they have read the feed to a cursor.
func (env *testEnv) wantCursor(t *testing.T, client *redis.Client, cursor byte) {
	t.Helper()
	testkit.Eventually(t, func() error {
		for _, key := range client.Keys(t.Context(), "*cursor:*").Val() {
			if note := client.Get(t.Context(), key).Val(); len(note) > 8 && note[7] >= cursor {
				return nil
			}
		}
		return fmt.Errorf("no cursor after %v", time.Now())
	})
}
