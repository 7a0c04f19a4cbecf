//go:build servers

package cache_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func TestRedisFeed(t *testing.T) {
	t.Parallel()
	// A Redis in which nothing is missing is accepted, and no other.
	t.Run("a_new_service_starts_at_the_stored_cursor", func(t *testing.T) {
		t.Parallel()
		env, server, client := newRedisEnv(t)
		ada := env.store.put("ada@example.com")
		token := env.store.token(ada)
		env.feed.publish(env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada" }))
		env.wantConverged(t, token)

		missed := env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		second := env.addReplica(t, config(server.URL()), func() {
			env.feed.mu.Lock()
			defer env.feed.mu.Unlock()
			env.feed.changes = append(env.feed.changes, missed) // The others are not woken.
		})
		user, err := second.me(t.Context(), token)
		if want := env.store.profile(token); err != nil || !proto.Equal(user, want) {
			t.Errorf("who comes later reads %v, %v, want %v", user, err, want)
		}

		cursors, err := client.Keys(t.Context(), "*:cursor:*").Result()
		if err != nil || len(cursors) != 1 {
			t.Fatalf("the cursors are %q, %v", cursors, err)
		}
		if err := client.Del(t.Context(), cursors...).Err(); err != nil {
			t.Fatal(err)
		}
		third := env.addReplica(t, config(server.URL()), func() {
			// Nobody is notified of this one.
			env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada Lovelace" })
		})
		user, err = third.me(t.Context(), token)
		if want := env.store.profile(token); err != nil || !proto.Equal(user, want) {
			t.Errorf("who finds no cursor reads %v, %v, want %v", user, err, want)
		}
	})
}
