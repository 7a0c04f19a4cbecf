package store

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
)

const (
	// heartbeat is how often a follower hears something at least: by the contract every second, less the time that it
	// takes to read.
	heartbeat = 900 * time.Millisecond

	// followersRetry is when a follower for whom there is no room should come again.
	followersRetry = time.Second
)

var (
	errStopping  = errors.New("the store is being stopped") // ends a stream without an error
	errOtherFeed = errors.New("the database was restored, or has another epoch, since the stream began")
)

// changeService implements gatehouse.internal.v1.ChangeService.
type changeService struct {
	internalv1.UnsafeChangeServiceServer

	feed *feed
}

// WatchChanges tells of changes until the caller or the service ends it.
func (s *changeService) WatchChanges(
	req *internalv1.WatchChangesRequest, stream grpc.ServerStreamingServer[internalv1.WatchChangesResponse],
) error {
	select {
	case s.feed.followers <- struct{}{}:
		defer func() { <-s.feed.followers }()
	default:
		return apierr.Overloaded(followersRetry)
	}
	follower, err := s.feed.begin(stream.Context(), req)
	if err == nil {
		err = follower.run(stream)
	}
	if errors.Is(err, errStopping) {
		return nil // The follower comes again, to another store.
	}
	return translate(err)
}

// follower is one stream.
type follower struct {
	feed       *feed
	epoch      string
	cursor     int64
	incomplete bool // and not told so yet
}

// begin finds out where a stream begins.
func (f *feed) begin(ctx context.Context, req *internalv1.WatchChangesRequest) (*follower, error) {
	state, err := f.storage.ReadFeedState(ctx)
	if err != nil {
		return nil, err
	}
	cursor := req.GetCursor()
	incomplete := req.GetEpoch() != state.Epoch || cursor == 0 || cursor > state.Last
	if !incomplete && cursor < state.Last {
		_, err := f.storage.ListChanges(ctx, cursor, 1)
		incomplete = errors.Is(err, storage.ErrCursorExpired)
		if err != nil && !incomplete {
			return nil, err
		}
	}
	if incomplete {
		cursor = state.Last
	}
	return &follower{feed: f, epoch: state.Epoch, cursor: cursor, incomplete: incomplete}, nil
}

// run tells at once, with each change, and with each heartbeat.
func (f *follower) run(stream grpc.ServerStreamingServer[internalv1.WatchChangesResponse]) error {
	ctx := stream.Context()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for due := true; ; {
		changed := f.feed.next()
		response, more, err := f.news(ctx)
		if err != nil {
			return err
		}
		if due || len(response.GetChanges()) > 0 {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
		if due, err = f.wait(ctx, changed, beat.C, more); err != nil {
			return err
		}
	}
}

// wait waits for a change, unless there is more to tell now, and tells whether it is time for a heartbeat.
func (f *follower) wait(
	ctx context.Context, changed <-chan struct{}, beat <-chan time.Time, more bool,
) (due bool, err error) {
	select {
	case <-f.feed.stopped:
		return false, errStopping
	default:
	}
	if more {
		return false, nil
	}
	select {
	case <-changed:
		return false, nil
	case <-beat:
		return true, nil
	case <-f.feed.stopped:
		return false, errStopping
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// news reads what follows the cursor, moves the cursor, and tells whether there is more.
func (f *follower) news(ctx context.Context) (response *internalv1.WatchChangesResponse, more bool, err error) {
	// What waits for its place is read first: a change of before is there, or in the feed that is read next.
	oldest, _, err := f.feed.storage.ReadOldestChange(ctx)
	if err != nil {
		return nil, false, err
	}
	changes, err := f.read(ctx)
	if err != nil {
		return nil, false, err
	}
	if more = len(changes) > feedBatch; more {
		if next := changes[feedBatch].CreateTime; oldest.IsZero() || next.Before(oldest) {
			oldest = next
		}
		changes = changes[:feedBatch]
	}
	if len(changes) > 0 {
		f.cursor = changes[len(changes)-1].Sequence
	}
	response = &internalv1.WatchChangesResponse{
		Epoch: f.epoch, Cursor: f.cursor, Incomplete: f.incomplete, Changes: changeMessages(changes),
		LagMilliseconds: f.feed.age(oldest).Milliseconds(),
	}
	more = more || f.incomplete
	f.incomplete = false
	return response, more, nil
}

// read gives the changes after the cursor, and one more than are told at once, where there is. To whom something is
// missing there are none before that is told.
func (f *follower) read(ctx context.Context) ([]storage.Change, error) {
	state, err := f.feed.storage.ReadFeedState(ctx)
	if err != nil {
		return nil, err
	}
	if state.Epoch != f.epoch || state.Last < f.cursor {
		return nil, apierr.Unavailable(errOtherFeed)
	}
	if state.Last == f.cursor || f.incomplete {
		return nil, nil
	}
	changes, err := f.feed.storage.ListChanges(ctx, f.cursor, feedBatch+1)
	if errors.Is(err, storage.ErrCursorExpired) {
		err = apierr.Unavailable(err) // The caller comes again, and is told that something is missing.
	}
	return changes, err
}

// age is for how long something is there since a time, by the database's clock: 0 where there is none.
func (f *feed) age(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(0, f.storage.Now().Sub(since))
}

func changeMessages(changes []storage.Change) []*internalv1.Change {
	messages := make([]*internalv1.Change, 0, len(changes))
	for _, change := range changes {
		messages = append(messages, &internalv1.Change{
			UserId: change.UserID, SessionId: change.SessionID, Version: change.Version, Ended: change.Ended,
		})
	}
	return messages
}
