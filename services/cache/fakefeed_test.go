package cache_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// fakeFeed is the feed of a store in memory.
type fakeFeed struct {
	internalv1.UnimplementedChangeServiceServer

	mu      sync.Mutex
	epoch   string
	changes []*internalv1.Change // the cursor is how many there are
	lost    int64                // of the oldest
	cut     bool                 // nobody is told anything
	updated chan struct{}        // closed when something is new
	asked   []*internalv1.WatchChangesRequest
	streams int
}

func newFakeFeed() *fakeFeed {
	return &fakeFeed{epoch: "0190a1b2-0000-7000-8000-00000000000e", updated: make(chan struct{})}
}

// update changes the feed, and wakes or ends the streams.
func (f *fakeFeed) update(change func(*fakeFeed)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	close(f.updated)
	f.updated = make(chan struct{})
}

// disconnect ends all streams, and updates the feed before there are others.
func (f *fakeFeed) disconnect(t *testing.T, happen func(*fakeFeed)) {
	t.Helper()
	f.update(func(f *fakeFeed) { f.cut = true })
	testkit.Eventually(t, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.streams > 0 {
			return errors.New("there are streams")
		}
		return nil
	})
	f.update(happen)
	f.update(func(f *fakeFeed) { f.cut = false })
}

// publish adds a change of the store.
func (f *fakeFeed) publish(change *internalv1.Change) {
	f.update(func(f *fakeFeed) { f.changes = append(f.changes, change) })
}

func (f *fakeFeed) WatchChanges(
	req *internalv1.WatchChangesRequest, stream grpc.ServerStreamingServer[internalv1.WatchChangesResponse],
) error {
	f.mu.Lock()
	f.asked = append(f.asked, req)
	f.streams++
	f.mu.Unlock()
	defer f.update(func(f *fakeFeed) { f.streams-- })
	cursor, epoch, first := req.GetCursor(), "", true
	for {
		answer, news := f.after(cursor)
		if answer == nil || !first && answer.GetEpoch() != epoch {
			return status.Error(codes.Unavailable, "the stream is over")
		}
		if first && (req.GetEpoch() != answer.GetEpoch() || cursor == 0 || cursor < f.lost) {
			answer = &internalv1.WatchChangesResponse{
				Epoch: answer.GetEpoch(), Incomplete: true, Cursor: cursor + int64(len(answer.GetChanges())),
			}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
		cursor, epoch, first = answer.GetCursor(), answer.GetEpoch(), false
		select {
		case <-news:
		case <-time.After(time.Second):
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (f *fakeFeed) after(cursor int64) (*internalv1.WatchChangesResponse, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut {
		return nil, nil
	}
	return &internalv1.WatchChangesResponse{
		Epoch: f.epoch, Cursor: int64(len(f.changes)), Changes: f.changes[min(cursor, int64(len(f.changes))):],
	}, f.updated
}
