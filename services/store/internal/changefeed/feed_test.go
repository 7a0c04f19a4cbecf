package changefeed

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// fakeSource is a database in memory.
type fakeSource struct {
	written chan struct{}

	mu      sync.Mutex
	reads   int // of the state
	writes  int // attempts to sequence changes
	epoch   string
	waiting []storage.Change
	feed    []storage.Change
	err     error // of everything
	full    error // of attempts to sequence changes
}

func newSource() *fakeSource { return &fakeSource{written: make(chan struct{}, 1), epoch: "first"} }

func (s *fakeSource) Now() time.Time           { return time.Now() }
func (s *fakeSource) Written() <-chan struct{} { return s.written }

func (s *fakeSource) ReadFeedState(context.Context) (storage.FeedState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	state := storage.FeedState{Epoch: s.epoch, Last: int64(len(s.feed))}
	if len(s.waiting) > 0 {
		state.OldestWaiting = s.waiting[0].CreateTime
	}
	return state, s.err
}

func (s *fakeSource) SequenceChanges(_ context.Context, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.full != nil {
		return 0, s.full
	}
	count := min(limit, len(s.waiting))
	for _, change := range s.waiting[:count] {
		change.Sequence = int64(len(s.feed) + 1)
		s.feed = append(s.feed, change)
	}
	s.waiting = s.waiting[count:]
	return count, s.err
}

func (s *fakeSource) ListChanges(_ context.Context, after int64, limit int) ([]storage.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.feed[after:]
	return rest[:min(limit, len(rest))], s.err
}

// commit commits a change: of this store, or of another one.
func (s *fakeSource) commit(own bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, storage.Change{UserID: "ada", CreateTime: time.Now()})
	if own {
		wake(s.written)
	}
}

func (s *fakeSource) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// takeReads returns how often the state was read since the last call.
func (s *fakeSource) takeReads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	reads := s.reads
	s.reads = 0
	return reads
}

// testFeed is a feed that runs, and what one follower has received.
type testFeed struct {
	*Feed

	source *fakeSource
	log    *bytes.Buffer

	mu      sync.Mutex
	batches []Batch
	times   []time.Time
}

// run runs a test with a feed in a bubble, whose clock only the test moves.
func run(t *testing.T, busy, idle time.Duration, test func(t *testing.T, feed *testFeed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		feed := &testFeed{source: newSource(), log: &bytes.Buffer{}}
		feed.Feed = newFeed(feed.source, busy, idle, slog.New(slog.NewTextHandler(feed.log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { feed.Run(ctx) })
		synctest.Wait()
		test(t, feed)
		stop()
		running.Wait()
	})
}

// follow begins a stream, and returns what it ends with.
func (f *testFeed) follow(t *testing.T, epoch string, cursor int64) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		ended <- f.Follow(t.Context(), epoch, cursor, func(batch Batch) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.batches, f.times = append(f.batches, batch), append(f.times, time.Now())
			return nil
		})
	}()
	synctest.Wait()
	return ended
}

// received returns the batches since the last call, and when they came.
func (f *testFeed) received() ([]Batch, []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	batches, times := f.batches, f.times
	f.batches, f.times = nil, nil
	return batches, times
}

func TestFeedPolls(t *testing.T) {
	t.Run("a_file_is_read_at_most_five_times_in_four_seconds_whatever_follows_it", func(t *testing.T) {
		run(t, fileInterval, fileInterval, func(t *testing.T, feed *testFeed) {
			feed.follow(t, "", 0)
			feed.source.takeReads()
			time.Sleep(time.Minute)
			if reads := feed.source.takeReads(); reads > 75 {
				t.Errorf("state was read %d times in an idle minute", reads)
			}
		})
	})
	t.Run("an_idle_feed_is_read_eight_times_less_often_than_one_that_moves", func(t *testing.T) {
		run(t, busyInterval, idleInterval, func(t *testing.T, feed *testFeed) {
			time.Sleep(busyPeriod)
			feed.source.takeReads()
			time.Sleep(time.Minute)
			if reads := feed.source.takeReads(); reads < 149 || reads > 151 {
				t.Errorf("state was read %d times in an idle minute, want 150", reads)
			}
			feed.source.commit(true)
			synctest.Wait()
			feed.source.takeReads()
			time.Sleep(5 * time.Second)
			if reads := feed.source.takeReads(); reads < 99 {
				t.Errorf("state was read %d times in 5 s after a change, want 100", reads)
			}
		})
	})
}

func TestFeedSequencing(t *testing.T) {
	t.Run("is_retried_four_times_a_second_while_it_fails", func(t *testing.T) {
		run(t, busyInterval, idleInterval, func(t *testing.T, feed *testFeed) {
			source := feed.source
			source.mu.Lock()
			source.full = errors.New("the disk is full")
			source.mu.Unlock()
			source.commit(true)
			time.Sleep(time.Minute)
			source.mu.Lock()
			if source.writes > 241 {
				t.Errorf("changes were sequenced %d times in a minute", source.writes)
			}
			source.full = nil
			source.mu.Unlock()
			time.Sleep(2 * retryInterval)
			source.mu.Lock()
			defer source.mu.Unlock()
			if len(source.feed) != 1 {
				t.Errorf("feed has %d changes once it succeeds", len(source.feed))
			}
		})
	})
}

func TestFollowLatency(t *testing.T) {
	for _, test := range []struct {
		name       string
		busy, idle time.Duration
		own, moves bool
		most       time.Duration
	}{
		{"a_change_of_this_store_is_sent_at_once", busyInterval, idleInterval, true, false, 0},
		{"a_change_of_another_store_is_sent_within_the_idle_interval", busyInterval, idleInterval, false, false, idleInterval},
		{"a_change_of_another_store_is_sent_within_50_ms_while_the_feed_moves", busyInterval, idleInterval, false, true, busyInterval},
		{"a_change_of_another_process_in_a_file_is_sent_within_a_second", fileInterval, fileInterval, false, false, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, test.busy, test.idle, func(t *testing.T, feed *testFeed) {
				feed.follow(t, "", 0)
				time.Sleep(2*busyPeriod + time.Millisecond)
				if test.moves {
					feed.source.commit(true)
					time.Sleep(time.Second)
				}
				feed.received()
				committed := time.Now()
				feed.source.commit(test.own)
				time.Sleep(2 * time.Second)
				batches, times := feed.received()
				for i, batch := range batches {
					if len(batch.Changes) == 0 {
						continue
					}
					if latency := times[i].Sub(committed); latency > test.most {
						t.Errorf("change was sent after %v, want %v", latency, test.most)
					}
					return
				}
				t.Error("change was not sent")
			})
		})
	}
}

func TestFollow(t *testing.T) {
	t.Run("sends_something_each_second", func(t *testing.T) {
		for _, interval := range []time.Duration{busyInterval, idleInterval, fileInterval} {
			run(t, interval, interval, func(t *testing.T, feed *testFeed) {
				feed.follow(t, "", 0)
				time.Sleep(time.Minute)
				_, times := feed.received()
				for i := range times[1:] {
					if gap := times[i+1].Sub(times[i]); gap >= time.Second {
						t.Errorf("nothing was sent for %v", gap)
					}
				}
				if len(times) < 60 {
					t.Errorf("%d batches were sent in a minute", len(times))
				}
			})
		}
	})
	t.Run("ends_without_an_error_before_the_server_closes_the_connection", func(t *testing.T) {
		run(t, busyInterval, idleInterval, func(t *testing.T, feed *testFeed) {
			feed.maxAge = 10 * time.Second
			ended := feed.follow(t, "", 0)
			time.Sleep(9*time.Second - time.Millisecond)
			select {
			case err := <-ended:
				t.Fatalf("stream ended early: %v", err)
			default:
			}
			time.Sleep(time.Second + time.Millisecond)
			if err := <-ended; err != nil {
				t.Errorf("stream ended with %v", err)
			}
		})
	})
	t.Run("ends_when_the_database_does_not_answer", func(t *testing.T) {
		run(t, busyInterval, idleInterval, func(t *testing.T, feed *testFeed) {
			ended := feed.follow(t, "", 0)
			away := errors.New("the database is away")
			feed.source.fail(away)
			if err := <-ended; !errors.Is(err, away) {
				t.Errorf("stream ended with %v", err)
			}
			// Followers come again at once: each waits, and the log has one line.
			began, attempts := time.Now(), 0
			for time.Since(began) < time.Minute {
				if err := <-feed.follow(t, "", 0); !errors.Is(err, away) {
					t.Fatalf("stream ended with %v", err)
				}
				attempts++
			}
			if attempts > 31 {
				t.Errorf("a follower failed %d times in a minute", attempts)
			}
			if lines := strings.Count(feed.log.String(), "\n"); lines != 1 {
				t.Errorf("log has %d lines: %s", lines, feed.log)
			}
			feed.received()
			feed.follow(t, "", 0)
			feed.source.fail(nil)
			time.Sleep(retryInterval)
			synctest.Wait()
			if batches, _ := feed.received(); len(batches) == 0 {
				t.Error("the follower that waited was not served when the database answered")
			}
		})
	})
	t.Run("ends_when_the_epoch_changes", func(t *testing.T) {
		run(t, busyInterval, idleInterval, func(t *testing.T, feed *testFeed) {
			ended := feed.follow(t, "", 0)
			feed.source.mu.Lock()
			feed.source.epoch = "second"
			feed.source.mu.Unlock()
			if err := <-ended; !errors.Is(err, ErrReset) {
				t.Errorf("stream ended with %v", err)
			}
		})
	})
	t.Run("is_refused_beyond_the_bound", func(t *testing.T) {
		run(t, busyInterval, idleInterval, func(t *testing.T, feed *testFeed) {
			for range MaxFollowers {
				feed.followers <- struct{}{}
			}
			if err := <-feed.follow(t, "", 0); !errors.Is(err, ErrTooManyFollowers) {
				t.Errorf("stream ended with %v", err)
			}
			<-feed.followers
			feed.follow(t, "", 0)
			if batches, _ := feed.received(); len(batches) != 1 || !batches[0].Incomplete {
				t.Errorf("first batches are %v", batches)
			}
		})
	})
}
