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
func (s *fakeStore) behind(userID string, change func(*gatehousev1.User)) *internalv1.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := s.users[userID]
	change(user)
	user.Version++
	return &internalv1.Change{UserId: userID, Version: user.GetVersion()}
}

// wantNews waits until every cache service shows the truth about the owner of a token.
func (h *house) wantNews(t *testing.T, token string) {
	t.Helper()
	for _, f := range h.others {
		testkit.Eventually(t, func() error {
			user, err := f.me(t.Context(), token)
			if want := h.store.profile(token); err == nil && !proto.Equal(user, want) {
				err = fmt.Errorf("read %v, want %v", user, want)
			}
			return err
		})
	}
}

// wantGone waits until every cache service refuses a token.
func (h *house) wantGone(t *testing.T, token string) {
	t.Helper()
	for _, f := range h.others {
		testkit.Eventually(t, func() error {
			if _, err := f.me(t.Context(), token); err == nil {
				return errors.New("the token is taken")
			}
			return nil
		})
	}
}

// backends are some cache services on a Redis, and one on a memory.
func backends(t *testing.T, fronts int, test func(*testing.T, *house)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		h, _, _ := newRedisTown(t, fronts)
		test(t, h)
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		h, _ := newCountingHouse(t)
		test(t, h)
	})
}

func TestWhatNoCacheServiceCouldTellIsLearntByTheFeed(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, h *house) {
		ada := h.store.put("ada@example.com")
		token, other := h.store.token(ada), h.store.token(ada)
		h.wantNews(t, token)
		h.wantNews(t, other)
		renamed := h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		h.feed.tell(renamed)
		h.wantNews(t, token)

		h.store.end(token)
		h.feed.tell(&internalv1.Change{UserId: ada, SessionId: h.store.session(token).GetId(), Ended: true})
		h.wantGone(t, token)
		h.wantNews(t, other)

		h.store.mu.Lock()
		delete(h.store.users, ada)
		h.store.mu.Unlock()
		h.feed.tell(&internalv1.Change{UserId: ada, Version: 3, Ended: true})
		h.wantGone(t, other)
	})
}

// TestOldNewsChangeNothing: the feed may tell again what is long known, and what a cache service has told before it.
func TestOldNewsChangeNothing(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, h *house) {
		ada := h.store.put("ada@example.com")
		token := h.store.token(ada)
		for range 3 {
			h.feed.tell(h.store.behind(ada, func(user *gatehousev1.User) { user.FullName += "!" }))
		}
		h.wantNews(t, token)
		var reads int
		testkit.Eventually(t, func() error { // What is read while a change is on its way is not kept.
			reads = h.store.readCount()
			h.wantNews(t, token)
			if h.store.readCount() != reads {
				return errors.New("the profile is not kept")
			}
			return nil
		})
		for version := range int64(4) {
			h.feed.tell(&internalv1.Change{UserId: ada, Version: version + 1})
		}
		h.feed.tell(h.store.behind(h.store.put("grace@example.com"), func(*gatehousev1.User) {}))
		h.wantNews(t, token)
		h.wantReads(t, reads)
	})
}

// TestAFeedThatWasAwayIsCaughtUpWith, from where the cache services were.
func TestAFeedThatWasAwayIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	backends(t, 1, func(t *testing.T, h *house) {
		ada := h.store.put("ada@example.com")
		token := h.store.token(ada)
		h.wantNews(t, token)
		h.feed.tell(h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada" }))
		h.wantNews(t, token)
		missed := h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		h.feed.away(t, func(f *fakeFeed) { f.changes = append(f.changes, missed) })
		h.wantNews(t, token)
		h.feed.mu.Lock()
		defer h.feed.mu.Unlock()
		if last := h.feed.asked[len(h.feed.asked)-1]; last.GetCursor() != 1 || last.GetEpoch() != h.feed.epoch {
			t.Errorf("the feed was asked for %v", last)
		}
	})
}

// TestWhatTheFeedHasForgottenIsForgotten: nobody knows which entries are outdated.
func TestWhatTheFeedHasForgottenIsForgotten(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, h *house) {
		ada := h.store.put("ada@example.com")
		token := h.store.token(ada)
		h.wantNews(t, token)
		h.feed.tell(h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada" }))
		h.wantNews(t, token)
		forgotten := h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
		h.feed.away(t, func(f *fakeFeed) { f.changes, f.lost = append(f.changes, forgotten), 2 })
		h.wantNews(t, token)
	})
}

// TestAfterARestoreNothingFromBeforeIsBelieved: the database is one of before, and so are its versions.
func TestAfterARestoreNothingFromBeforeIsBelieved(t *testing.T) {
	t.Parallel()
	backends(t, 2, func(t *testing.T, h *house) {
		ada := h.store.put("ada@example.com")
		token := h.store.token(ada)
		for range 5 {
			h.feed.tell(h.store.behind(ada, func(user *gatehousev1.User) { user.FullName += "!" }))
		}
		lost := h.store.token(ada)
		h.wantNews(t, token)
		h.wantNews(t, lost)
		h.store.end(lost)
		h.store.mu.Lock()
		h.store.users[ada].Version, h.store.users[ada].FullName = 2, "Ada of before"
		h.store.mu.Unlock()
		h.feed.meddle(func(f *fakeFeed) { f.epoch, f.changes = "0190a1b2-0000-7000-8000-00000000000f", nil })
		h.wantNews(t, token)
		h.wantGone(t, lost)
	})
}

// TestACacheServiceBeginsWhereTheOthersAre: a Redis in which nothing is missing is believed, and no other.
func TestACacheServiceBeginsWhereTheOthersAre(t *testing.T) {
	t.Parallel()
	h, server, client := newRedisHouse(t)
	ada := h.store.put("ada@example.com")
	token := h.store.token(ada)
	h.feed.tell(h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada" }))
	h.wantNews(t, token)

	missed := h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada King" })
	second := h.join(t, config(server.URL()), func() {
		h.feed.mu.Lock()
		defer h.feed.mu.Unlock()
		h.feed.changes = append(h.feed.changes, missed) // The others are not woken.
	})
	user, err := second.me(t.Context(), token)
	if want := h.store.profile(token); err != nil || !proto.Equal(user, want) {
		t.Errorf("who comes later reads %v, %v, want %v", user, err, want)
	}

	cursors, err := client.Keys(t.Context(), "*:cursor:*").Result()
	if err != nil || len(cursors) != 1 {
		t.Fatalf("the cursors are %q, %v", cursors, err)
	}
	if err := client.Del(t.Context(), cursors...).Err(); err != nil {
		t.Fatal(err)
	}
	third := h.join(t, config(server.URL()), func() {
		// Nobody is told of this one.
		h.store.behind(ada, func(user *gatehousev1.User) { user.FullName = "Ada Lovelace" })
	})
	user, err = third.me(t.Context(), token)
	if want := h.store.profile(token); err != nil || !proto.Equal(user, want) {
		t.Errorf("who finds no cursor reads %v, %v, want %v", user, err, want)
	}
}
