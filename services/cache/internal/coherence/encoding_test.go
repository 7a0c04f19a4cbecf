package coherence

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

const (
	adaID     = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"
	sessionID = "01970e2c-7a10-7b5e-8c43-0d6f1a9e2b54"
	otherID   = "01970e2c-6f3a-7c41-9d1b-000000000000"
)

func ada(version int64) *gatehousev1.User {
	return &gatehousev1.User{
		Id: adaID, Email: "ada@example.com", FullName: "Ada Lovelace", Version: version, SessionGeneration: 1,
	}
}

// adasSession expires in 2100.
func adasSession(version int64) *gatehousev1.Session {
	return &gatehousev1.Session{
		Id: sessionID, UserId: adaID, Version: version, Generation: 1,
		ExpireTime: timestamppb.New(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
}

func encoded(t testing.TB, of record) []byte {
	t.Helper()
	current, _, err := encode(of)
	if err != nil {
		t.Fatal(err)
	}
	return current
}

func marshaled(t testing.TB, rank uint64, message proto.Message) []byte {
	t.Helper()
	made, err := marshalEntry(rank, message)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func tombstoneOf(t testing.TB, userID, sessionID string) []byte {
	t.Helper()
	made, err := tombstone(userID, sessionID)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, ada(3)))
	f.Add(encoded(f, adasSession(3)))
	f.Add(tombstoneOf(f, adaID, sessionID))
	f.Add(invalidated(time.Now()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, held []byte) {
		user, err := decodeUser(held, adaID)
		if err == nil && user != nil && (user.GetId() != adaID || user.GetVersion() < 1) {
			t.Errorf("%x was taken for %v", held, user)
		}
		session, ended, err := decodeSession(held, adaID, sessionID)
		switch {
		case err != nil:
		case ended && (session != nil || entry.Rank(held) != tombstoneRank):
			t.Errorf("%x was taken for a tombstone", held)
		case session != nil && (session.GetId() != sessionID || session.GetUserId() != adaID || session.GetCurrent()):
			t.Errorf("%x was taken for %v", held, session)
		}
	})
}

func TestDecode(t *testing.T) {
	t.Parallel()
	t.Run("accepts_only_encoded_entries", func(t *testing.T) {
		t.Parallel()
		user, err := decodeUser(encoded(t, ada(3)), adaID)
		if err != nil || !proto.Equal(user, ada(3)) {
			t.Fatalf("decode: %v, error %v", user, err)
		}
		session, ended, err := decodeSession(encoded(t, adasSession(3)), adaID, sessionID)
		if err != nil || ended || !proto.Equal(session, adasSession(3)) {
			t.Fatalf("decode: %v, ended %t, error %v", session, ended, err)
		}
		current := adasSession(3)
		current.Current = true
		for name, held := range map[string][]byte{
			"another user's session": encoded(t, &gatehousev1.Session{Id: sessionID, UserId: otherID, Version: 3}),
			"another session":        encoded(t, &gatehousev1.Session{Id: otherID, UserId: adaID, Version: 3}),
			"another rank":           marshaled(t, 8, adasSession(3)),
			"an outdated rank":       marshaled(t, 5, adasSession(3)),
			"another version":        append(encoded(t, adasSession(3))[:8], encoded(t, adasSession(4))[8:]...),
			"no rank that we give":   entryOf(invalidationRank+1, ""),
			"the greatest rank":      entryOf(1<<64-1, ""),
			"a user":                 encoded(t, ada(3)),
			"a session of some call": encoded(t, current),
			"another's tombstone":    tombstoneOf(t, otherID, sessionID),
			"a tombstone of another": tombstoneOf(t, adaID, otherID),
			"an empty tombstone":     entryOf(tombstoneRank, ""),
			"a living tombstone":     marshaled(t, tombstoneRank, adasSession(3)),
		} {
			if session, ended, err := decodeSession(held, adaID, sessionID); err == nil {
				t.Errorf("%s was taken for %v, ended %t", name, session, ended)
			}
		}
		for name, held := range map[string][]byte{
			"another user": encoded(t, &gatehousev1.User{Id: otherID, Version: 3}),
			"another rank": marshaled(t, 8, ada(3)),
			"a tombstone":  tombstoneOf(t, adaID, adaID),
			"a session":    encoded(t, adasSession(3)),
			"what only admins may see": encoded(t, &gatehousev1.User{
				Id: adaID, Version: 3, AppMetadata: &structpb.Struct{},
			}),
		} {
			if user, err := decodeUser(held, adaID); err == nil {
				t.Errorf("%s was taken for %v", name, user)
			}
		}
	})
	t.Run("an_outdated_entry_has_no_state", func(t *testing.T) {
		t.Parallel()
		_, outdated, err := encode(adasSession(1))
		if err != nil {
			t.Fatal(err)
		}
		for _, held := range [][]byte{outdated, invalidated(time.Now())} {
			session, ended, err := decodeSession(held, adaID, sessionID)
			if session != nil || ended || err != nil {
				t.Errorf("%x was taken for %v, ended %t, error %v", held, session, ended, err)
			}
			user, err := decodeUser(held, adaID)
			if user != nil || err != nil {
				t.Errorf("%x was taken for %v, error %v", held, user, err)
			}
		}
	})
}

func TestRank(t *testing.T) {
	t.Parallel()
	// The order of what may be said of a session is that of the ranks.
	t.Run("has_the_order_of_changes", func(t *testing.T) {
		t.Parallel()
		_, outdated1, _ := encode(adasSession(1))
		_, outdated2, _ := encode(adasSession(2))
		ascending := [][]byte{
			outdated1, encoded(t, adasSession(1)), outdated2, encoded(t, adasSession(2)),
			encoded(t, adasSession(maxVersion)), invalidated(time.Time{}), invalidated(time.Now()),
			invalidated(time.Now().Add(time.Millisecond)), tombstoneOf(t, adaID, sessionID), entryOf(1<<53, ""),
		}
		for i := range len(ascending) - 1 {
			if entry.Rank(ascending[i]) >= entry.Rank(ascending[i+1]) {
				t.Errorf("rank %d is not lower than %d", entry.Rank(ascending[i]), entry.Rank(ascending[i+1]))
			}
		}
	})
}

func TestEncode(t *testing.T) {
	t.Parallel()
	t.Run("rejects_versions_out_of_range", func(t *testing.T) {
		t.Parallel()
		for _, version := range []int64{-1, 0, maxVersion + 1, 1<<63 - 1} {
			if current, _, err := encode(ada(version)); err == nil {
				t.Errorf("version %d became %x", version, current)
			}
		}
	})
}

func TestKey(t *testing.T) {
	t.Parallel()
	t.Run("all_keys_of_a_user_have_one_tag", func(t *testing.T) {
		t.Parallel()
		for _, key := range []string{userKey(adaID), SessionKey(adaID, sessionID)} {
			if tag := entry.Tag(key); tag != adaID || strings.Count(key, "{") != 1 {
				t.Errorf("key %s has the tag %s", key, tag)
			}
		}
		for _, key := range []string{"key", "{", "a{}b", "}{"} {
			if tag := entry.Tag(key); tag != key {
				t.Errorf("key %s has the tag %s", key, tag)
			}
		}
	})
}
