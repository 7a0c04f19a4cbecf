package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/changefeed"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/maintenance"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"

	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const overloaded, unavailable = gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED, gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE

type changeStream = grpc.ServerStreamingClient[internalv1.WatchChangesResponse]

// open begins a stream. It ends with the test, or after a minute: what is not told until then never is.
func (s *testStore) open(t *testing.T, epoch string, cursor int64) changeStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := s.changes.WatchChanges(ctx, &internalv1.WatchChangesRequest{Epoch: epoch, Cursor: cursor})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// watch begins a stream, and gives its first answer.
func (s *testStore) watch(t *testing.T, epoch string, cursor int64) (changeStream, *internalv1.WatchChangesResponse) {
	t.Helper()
	stream := s.open(t, epoch, cursor)
	return stream, receive(t, stream)
}

func receive(t *testing.T, stream changeStream) *internalv1.WatchChangesResponse {
	t.Helper()
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// wantChange receives until there are changes, and wants one: of a user or a session.
func wantChange(t *testing.T, stream changeStream, wanted *internalv1.Change) *internalv1.WatchChangesResponse {
	t.Helper()
	for {
		response := receive(t, stream)
		changes := response.GetChanges()
		if len(changes) == 0 {
			continue
		}
		if len(changes) != 1 || changes[0].String() != wanted.String() {
			t.Errorf("the changes are %v, want %v", changes, wanted)
		}
		return response
	}
}

// endSessions makes a change of a user, which makes the version given.
func (s *testStore) endSessions(t *testing.T, userID string, version int64) *internalv1.Change {
	t.Helper()
	account, err := s.service.storage.EndAllSessions(t.Context(), userID, storage.Replacement{}, s.service.config.Now())
	if err != nil || account.User.Version != version {
		t.Fatalf("the user is %+v, %v", account.User, err)
	}
	return &internalv1.Change{UserId: userID, Version: version}
}

func TestWatchChanges(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		store := startStore(t, testConfig(database, newClock()))
		ada := store.signUp(t).GetId()
		token := store.logIn(t).GetAccessToken()
		stream, first := store.watch(t, "", 0)
		if !first.GetIncomplete() || len(first.GetChanges()) != 0 || first.GetEpoch() == "" {
			t.Errorf("the first answer is %v", first)
		}
		session, err := store.read(t, token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.sessions.DeleteSession(as(t, token), &gatehousev1.DeleteSessionRequest{Id: "current"}); err != nil {
			t.Fatal(err)
		}
		ended := &internalv1.Change{UserId: ada, SessionId: session.GetSession().GetId(), Ended: true}
		cursor := wantChange(t, stream, ended).GetCursor()
		update := store.endSessions(t, ada, 2)
		last := wantChange(t, stream, update).GetCursor()
		if cursor <= first.GetCursor() || last <= cursor {
			t.Errorf("the cursors are %d, %d and %d", first.GetCursor(), cursor, last)
		}
		_, again := store.watch(t, first.GetEpoch(), cursor)
		if again.GetIncomplete() || again.GetCursor() != last || len(again.GetChanges()) != 1 {
			t.Errorf("who comes again is told %v", again)
		}
		if _, again := store.watch(t, first.GetEpoch(), last); again.GetIncomplete() || again.GetCursor() != last || len(again.GetChanges()) != 0 {
			t.Errorf("who has missed nothing is told %v", again)
		}
	})
}

func TestWatchChangesOfAnotherStore(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		clock := newClock()
		stores := []*testStore{startStore(t, testConfig(database, clock)), startStore(t, testConfig(database, clock))}
		ada := stores[0].signUp(t).GetId()
		streams := make([]changeStream, len(stores))
		for i, store := range stores {
			streams[i], _ = store.watch(t, "", 0)
		}
		for version := range int64(6) {
			change := stores[version%2].endSessions(t, ada, version+2)
			for _, stream := range streams {
				wantChange(t, stream, change)
			}
		}
	})
}

func TestWatchChangesExpiredCursor(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		store := startStore(t, testConfig(database, newClock()))
		ada := store.signUp(t).GetId()
		stream, first := store.watch(t, "", 0)
		for version := int64(2); version <= 5; version++ {
			wantChange(t, stream, store.endSessions(t, ada, version))
		}
		last, epoch := first.GetCursor()+4, first.GetEpoch()
		wantIncomplete := func(epoch string, cursor int64, wanted bool) {
			t.Helper()
			_, response := store.watch(t, epoch, cursor)
			if response.GetIncomplete() != wanted || response.GetCursor() != last || wanted && len(response.GetChanges()) > 0 {
				t.Errorf("from %d on it is %v", cursor, response)
			}
		}
		wantIncomplete(epoch, 0, true)
		wantIncomplete(epoch, last+1, true)
		wantIncomplete(epoch, 1, false)
		wantIncomplete("another epoch", last, true)
		wantIncomplete("", 1, true)
		db, err := storage.Open(t.Context(), database, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := maintenance.SweepOnce(t.Context(), db, 0, db.Now().Add(changefeed.Retention-time.Minute)); err != nil {
			t.Fatal(err)
		}
		wantIncomplete(epoch, 1, false)
		if err := maintenance.SweepOnce(t.Context(), db, 0, db.Now().Add(changefeed.Retention+time.Minute)); err != nil {
			t.Fatal(err)
		}
		wantIncomplete(epoch, last-1, true)
		wantIncomplete(epoch, last, false)
	})
}

func TestWatchChangesAnotherEpoch(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		store := startStore(t, testConfig(database, newClock()))
		store.endSessions(t, store.signUp(t).GetId(), 2)
		stream, first := store.watch(t, "", 0)
		before, after, err := operator.BumpEpoch(t.Context(), database, slog.New(slog.DiscardHandler))
		if err != nil || before != first.GetEpoch() || after == before {
			t.Errorf("the epoch was %q and is %q, %v", before, after, err)
		}
		wantReason(t, streamEnd(stream), unavailable)
		if _, again := store.watch(t, before, first.GetCursor()); !again.GetIncomplete() || again.GetEpoch() != after {
			t.Errorf("who comes again is told %v", again)
		}
	})
}

// streamEnd receives until the stream ends.
func streamEnd(stream changeStream) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

// TestWatchChangesShutdown checks that a store which stops ends its streams at once, without an error.
func TestWatchChangesShutdown(t *testing.T) {
	store := startStore(t, testConfig(storeconfig.Database{URL: "sqlite:" + t.TempDir() + "/test.db"}, newClock()))
	stream, _ := store.watch(t, "", 0)
	store.stop()
	if err := streamEnd(stream); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
}

// TestWatchChangesOfCommands makes another process write to the database.
func TestWatchChangesOfCommands(t *testing.T) {
	database := sqliteDatabase(t)
	store := startStore(t, testConfig(database, newClock()))
	ada := store.signUp(t).GetId()
	other, err := storage.Open(t.Context(), database, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for last := range int64(3) {
		if _, err := other.EndAllSessions(t.Context(), ada, storage.Replacement{}, other.Now()); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, func() error {
			state, err := other.ReadFeedState(t.Context())
			if err == nil && state.Last != last+1 {
				err = fmt.Errorf("feed is at %d", state.Last)
			}
			return err
		})
	}
}
