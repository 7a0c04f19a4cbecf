package cache_test

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// behind makes a change of which the cache services know nothing, as if one had died before it could tell, and gives
// what the feed tells of it.
func (s *fakeStore) changeSilently(userID string, change func(*gatehousev1.User)) *internalv1.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := s.users[userID]
	change(user)
	user.Version++
	return &internalv1.Change{UserId: userID, Version: user.GetVersion()}
}

// wantNews waits until every cache service shows the truth about the owner of a token.
func (env *testEnv) wantConverged(t *testing.T, token string) {
	t.Helper()
	for _, r := range env.replicas {
		testkit.Eventually(t, func() error {
			user, err := r.me(t.Context(), token)
			if want := env.store.profile(token); err == nil && !proto.Equal(user, want) {
				err = fmt.Errorf("read %v, want %v", user, want)
			}
			return err
		})
	}
}

// wantGone waits until every cache service refuses a token.
func (env *testEnv) wantRefusedSoon(t *testing.T, token string) {
	t.Helper()
	for _, r := range env.replicas {
		testkit.Eventually(t, func() error {
			if _, err := r.me(t.Context(), token); err == nil {
				return errors.New("the token is taken")
			}
			return nil
		})
	}
}

// backends are some cache services on a Redis, and one on a memory.
func backends(t *testing.T, fronts int, test func(*testing.T, *testEnv)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		env, _, _ := newRedisEnvOf(t, fronts)
		test(t, env)
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		env, _ := newCountingEnv(t)
		test(t, env)
	})
}

func TestWhatNoCacheServiceCouldTellIsLearntByTheFeed(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, env *testEnv) {
		ada := env.store.put("ada@example.com")
		token, other := env.store.token(ada), env.store.token(ada)
		env.wantConverged(t, token)
		env.wantConverged(t, other)
		renamed := env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		env.feed.publish(renamed)
		env.wantConverged(t, token)

		env.store.end(token)
		env.feed.publish(&internalv1.Change{UserId: ada, SessionId: env.store.session(token).GetId(), Ended: true})
		env.wantRefusedSoon(t, token)
		env.wantConverged(t, other)

		env.store.mu.Lock()
		delete(env.store.users, ada)
		env.store.mu.Unlock()
		env.feed.publish(&internalv1.Change{UserId: ada, Version: 3, Ended: true})
		env.wantRefusedSoon(t, other)
	})
}

// TestOldNewsChangeNothing: the feed may tell again what is long known, and what a cache service has told before it.
func TestOldNewsChangeNothing(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, env *testEnv) {
		ada := env.store.put("ada@example.com")
		token := env.store.token(ada)
		for range 3 {
			env.feed.publish(env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName += "!" }))
		}
		env.wantConverged(t, token)
		var reads int
		testkit.Eventually(t, func() error { // What is read while a change is on its way is not kept.
			reads = env.store.readCount()
			env.wantConverged(t, token)
			if env.store.readCount() != reads {
				return errors.New("the profile is not kept")
			}
			return nil
		})
		for version := range int64(4) {
			env.feed.publish(&internalv1.Change{UserId: ada, Version: version + 1})
		}
		env.feed.publish(env.store.changeSilently(env.store.put("grace@example.com"), func(*gatehousev1.User) {}))
		env.wantConverged(t, token)
		env.wantReads(t, reads)
	})
}

// TestAFeedThatWasAwayIsCaughtUpWith, from where the cache services were.
func TestAFeedThatWasAwayIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	backends(t, 1, func(t *testing.T, env *testEnv) {
		ada := env.store.put("ada@example.com")
		token := env.store.token(ada)
		env.wantConverged(t, token)
		env.feed.publish(env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada" }))
		env.wantConverged(t, token)
		missed := env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		env.feed.disconnect(t, func(f *fakeFeed) { f.changes = append(f.changes, missed) })
		env.wantConverged(t, token)
		env.feed.mu.Lock()
		defer env.feed.mu.Unlock()
		if last := env.feed.asked[len(env.feed.asked)-1]; last.GetCursor() != 1 || last.GetEpoch() != env.feed.epoch {
			t.Errorf("the feed was asked for %v", last)
		}
	})
}

// TestWhatTheFeedHasForgottenIsForgotten: nobody knows which entries are outdated.
func TestWhatTheFeedHasForgottenIsForgotten(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, env *testEnv) {
		ada := env.store.put("ada@example.com")
		token := env.store.token(ada)
		env.wantConverged(t, token)
		env.feed.publish(env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada" }))
		env.wantConverged(t, token)
		forgotten := env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		env.feed.disconnect(t, func(f *fakeFeed) { f.changes, f.lost = append(f.changes, forgotten), 2 })
		env.wantConverged(t, token)
	})
}

// TestAfterARestoreNothingFromBeforeIsBelieved: the database is one of before, and so are its versions.
func TestAfterARestoreNothingFromBeforeIsBelieved(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, env *testEnv) {
		ada := env.store.put("ada@example.com")
		token := env.store.token(ada)
		for range 5 {
			env.feed.publish(env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName += "!" }))
		}
		lost := env.store.token(ada)
		env.wantConverged(t, token)
		env.wantConverged(t, lost)
		env.store.end(lost)
		env.store.mu.Lock()
		env.store.users[ada].Version, env.store.users[ada].FullName = 2, "Ada of before"
		env.store.mu.Unlock()
		env.feed.update(func(f *fakeFeed) { f.epoch, f.changes = "0190a1b2-0000-7000-8000-00000000000f", nil })
		env.wantConverged(t, token)
		env.wantRefusedSoon(t, lost)
	})
}

// TestACacheServiceBeginsWhereTheOthersAre: a Redis in which nothing is missing is believed, and no other.
func TestACacheServiceBeginsWhereTheOthersAre(t *testing.T) {
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
		// Nobody is told of this one.
		env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada Lovelace" })
	})
	user, err = third.me(t.Context(), token)
	if want := env.store.profile(token); err != nil || !proto.Equal(user, want) {
		t.Errorf("who finds no cursor reads %v, %v, want %v", user, err, want)
	}
}
