package cache

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
)

// epochFeed is the feed of stores that report different epochs: each stream says another one.
type epochFeed struct {
	grpc.ServerStreamingClient[internalv1.WatchChangesResponse]

	epochs  []string
	streams int
	most    int    // streams
	cancel  func() // called when there are more
}

func (f *epochFeed) WatchChanges(
	context.Context, *internalv1.WatchChangesRequest, ...grpc.CallOption,
) (grpc.ServerStreamingClient[internalv1.WatchChangesResponse], error) {
	if f.streams++; f.streams > f.most {
		f.cancel()
	}
	return f, nil
}

func (f *epochFeed) Recv() (*internalv1.WatchChangesResponse, error) {
	if f.streams > f.most {
		return nil, io.EOF
	}
	return &internalv1.WatchChangesResponse{Epoch: f.epochs[f.streams%len(f.epochs)]}, nil
}

func TestFollowerEpochs(t *testing.T) {
	t.Run("pauses_between_stores_of_different_epochs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const seconds = 10
			ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
			defer cancel()
			feed := &epochFeed{epochs: []string{"one", "another"}, cancel: cancel}
			feed.most = seconds*int(time.Second/reconnectInterval) + 2 // Of the first two, none waits.
			memory, _ := openMemory(t, memoryBytes)
			e := newSynced(memory, time.Hour, slog.New(slog.DiscardHandler))
			f := &Follower{feed: feed, entries: e, log: slog.New(slog.DiscardHandler), now: time.Now}
			f.Run(ctx)
			if feed.streams > feed.most {
				t.Errorf("there are more than %d streams in %d s", feed.most, seconds)
			}
			if e.synced.Load() || f.Ready(t.Context()) == nil {
				t.Error("what is in the cache is believed")
			}
		})
	})
	t.Run("begins_in_another_epoch_at_once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			feed := &epochFeed{epochs: []string{"one"}, most: 1, cancel: cancel}
			memory, _ := openMemory(t, memoryBytes)
			e := newSynced(memory, time.Hour, slog.New(slog.DiscardHandler))
			f := &Follower{feed: feed, entries: e, log: slog.New(slog.DiscardHandler), now: time.Now}
			began := time.Now()
			f.Run(ctx)
			if waited := time.Since(began); waited != 0 || feed.streams != 2 {
				t.Errorf("after %v there are %d streams", waited, feed.streams)
			}
		})
	})
}
