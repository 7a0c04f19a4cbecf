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

// changeSilently changes a user past the cache services, as if one had died before it could invalidate the user. It
// returns the change for the feed.
func (s *fakeStore) changeSilently(userID string, change func(*gatehousev1.User)) *internalv1.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := s.users[userID]
	change(user)
	user.Version++
	return &internalv1.Change{UserId: userID, Version: user.GetVersion()}
}

// wantConverged waits until every cache service returns the current owner of a token.
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

// wantRefusedSoon waits until every cache service rejects a token.
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

func TestFeed(t *testing.T) {
	t.Parallel()
	t.Run("changes_of_others_become_visible", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 2)
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
	// The feed may tell again what is long known, and what a cache service has told before it.
	t.Run("old_changes_have_no_effect", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 2)
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
	// TestAFeedThatWasAwayIsCaughtUpWith, from where the cache services were.
	t.Run("resumes_at_the_cursor", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 1)
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
	// Nobody knows which entries are outdated.
	t.Run("an_expired_cursor_clears_the_cache", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 2)
		ada := env.store.put("ada@example.com")
		token := env.store.token(ada)
		env.wantConverged(t, token)
		env.feed.publish(env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada" }))
		env.wantConverged(t, token)
		forgotten := env.store.changeSilently(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		env.feed.disconnect(t, func(f *fakeFeed) { f.changes, f.lost = append(f.changes, forgotten), 2 })
		env.wantConverged(t, token)
	})
	// The database is one of the past, and so are its versions.
	t.Run("entries_of_another_epoch_are_not_used", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 2)
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
		env.store.users[ada].Version, env.store.users[ada].FullName = 2, "Ada of the past"
		env.store.mu.Unlock()
		env.feed.update(func(f *fakeFeed) { f.epoch, f.changes = "0190a1b2-0000-7000-8000-00000000000f", nil })
		env.wantConverged(t, token)
		env.wantRefusedSoon(t, lost)
	})
}
