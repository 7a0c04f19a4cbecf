package follower

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/memorybackend"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// fakeFeed is the feed of a store. Stream returns the receiver of each stream, which are counted from 1.
type fakeFeed struct {
	stream   func(n int, req *internalv1.WatchChangesRequest) func() (*internalv1.WatchChangesResponse, error)
	requests []*internalv1.WatchChangesRequest
}

func (f *fakeFeed) WatchChanges(
	ctx context.Context, req *internalv1.WatchChangesRequest, _ ...grpc.CallOption,
) (grpc.ServerStreamingClient[internalv1.WatchChangesResponse], error) {
	f.requests = append(f.requests, req)
	return &fakeStream{ctx: ctx, recv: f.stream(len(f.requests), req)}, nil
}

type fakeStream struct {
	grpc.ServerStreamingClient[internalv1.WatchChangesResponse]

	ctx  context.Context //nolint:containedctx // of the stream
	recv func() (*internalv1.WatchChangesResponse, error)
}

func (s *fakeStream) Recv() (*internalv1.WatchChangesResponse, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	return s.recv()
}

// testEnv is a follower over a memory backend.
type testEnv struct {
	*Follower

	feed   *fakeFeed
	logged *strings.Builder
}

func newTestEnv(t *testing.T, feed *fakeFeed) *testEnv {
	t.Helper()
	memory := memorybackend.New(1<<20, nil)
	t.Cleanup(func() { _ = memory.Close() })
	logged := new(strings.Builder)
	log := slog.New(slog.NewTextHandler(logged, nil))
	entries := coherence.New(memory, minrank.New(minrank.MaxKeys), time.Hour, log)
	return &testEnv{Follower: &Follower{feed: feed, entries: entries, log: log}, feed: feed, logged: logged}
}

const userID = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"

// isSynced reports whether entries are used.
func (env *testEnv) isSynced(t *testing.T) bool {
	t.Helper()
	user := &gatehousev1.User{Id: userID, Version: 1}
	env.entries.Fill(t.Context(), env.entries.AcquireLease(), user, nil)
	return env.entries.Account(t.Context(), userID, "session").User != nil
}

func (env *testEnv) runFor(t *testing.T, duration time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	env.Run(ctx)
}

// everySecond sends a message each second, and ends the stream with the error after a number of them.
func everySecond(messages int, end error, cursor func() int64) func() (*internalv1.WatchChangesResponse, error) {
	sent := 0
	return func() (*internalv1.WatchChangesResponse, error) {
		if sent == messages {
			return nil, end
		}
		if sent++; sent > 1 {
			time.Sleep(time.Second)
		}
		return &internalv1.WatchChangesResponse{Epoch: "epoch", Cursor: cursor()}, nil
	}
}

func TestRun(t *testing.T) {
	t.Run("follows_the_next_stream_at_once_after_a_clean_end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var cursor int64
			var ended time.Time
			env := newTestEnv(t, &fakeFeed{stream: func(n int, req *internalv1.WatchChangesRequest) func() (*internalv1.WatchChangesResponse, error) {
				if n > 2 && (time.Since(ended) != 0 || req.GetCursor() != cursor || req.GetEpoch() != "epoch") {
					t.Errorf("stream %d begins after %v with %v", n, time.Since(ended), req)
				}
				recv := everySecond(30, io.EOF, func() int64 { cursor++; return cursor })
				return func() (*internalv1.WatchChangesResponse, error) {
					message, err := recv()
					ended = time.Now()
					return message, err
				}
			}})
			env.runFor(t, time.Hour)
			if len(env.feed.requests) < 100 || !env.isSynced(t) || env.Ready(t.Context()) != nil {
				t.Errorf("after %d streams it is not ready", len(env.feed.requests))
			}
			if env.logged.Len() != 0 {
				t.Errorf("logged:\n%s", env.logged)
			}
		})
	})
	t.Run("pauses_between_streams_that_end_at_once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			env := newTestEnv(t, &fakeFeed{stream: func(int, *internalv1.WatchChangesRequest) func() (*internalv1.WatchChangesResponse, error) {
				return everySecond(1, io.EOF, func() int64 { return 1 })
			}})
			env.runFor(t, 10*time.Second)
			if most := int(10*time.Second/reconnectInterval) + 2; len(env.feed.requests) > most {
				t.Errorf("there were %d streams in 10 s", len(env.feed.requests))
			}
		})
	})
	t.Run("logs_an_outage_once_a_minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			env := newTestEnv(t, &fakeFeed{stream: func(int, *internalv1.WatchChangesRequest) func() (*internalv1.WatchChangesResponse, error) {
				return everySecond(0, errors.New("connection refused"), nil)
			}})
			env.runFor(t, 4*time.Second)
			if env.logged.Len() != 0 {
				t.Errorf("logged after 4 s:\n%s", env.logged)
			}
			env.runFor(t, 3*time.Minute)
			if lines := strings.Count(env.logged.String(), "connection refused"); lines != 3 {
				t.Errorf("there are %d lines about 3 minutes:\n%s", lines, env.logged)
			}
		})
	})
	t.Run("pauses_between_stores_of_different_epochs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			env := newTestEnv(t, &fakeFeed{stream: func(n int, _ *internalv1.WatchChangesRequest) func() (*internalv1.WatchChangesResponse, error) {
				return func() (*internalv1.WatchChangesResponse, error) {
					return &internalv1.WatchChangesResponse{Epoch: []string{"one", "another"}[n%2]}, nil
				}
			}})
			env.runFor(t, 10*time.Second)
			// There is no pause between the first two.
			if most := int(10*time.Second/reconnectInterval) + 2; len(env.feed.requests) > most {
				t.Errorf("there were %d streams in 10 s", len(env.feed.requests))
			}
			if env.isSynced(t) || env.Ready(t.Context()) == nil {
				t.Error("the entries are used")
			}
		})
	})
	t.Run("enters_another_epoch_at_once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began, waited := time.Now(), time.Duration(-1)
			env := newTestEnv(t, &fakeFeed{stream: func(n int, _ *internalv1.WatchChangesRequest) func() (*internalv1.WatchChangesResponse, error) {
				if n == 2 {
					waited = time.Since(began)
				}
				return everySecond(3, io.EOF, func() int64 { return 1 })
			}})
			env.runFor(t, time.Second)
			if waited != 0 {
				t.Errorf("the second stream began after %v", waited)
			}
		})
	})
}

func TestIsLate(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		began, last time.Duration // ago
		late        bool
	}{
		"begins":                            {0, time.Hour, false},
		"began_long_ago_and_never_followed": {unresponsiveAfter + 1, time.Hour, true},
		"followed_a_moment_ago":             {time.Hour, time.Second, false},
		"has_not_followed_for_too_long":     {time.Hour, unresponsiveAfter + 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := new(Follower)
			f.current.Store(new(now.Add(-test.last)))
			if got := f.isLate(now.Add(-test.began)); got != test.late {
				t.Errorf("isLate = %v", got)
			}
		})
	}
}
