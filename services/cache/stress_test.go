package cache_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// tries is how often each of the residents tries. 100 take about two minutes with the race detector.
var tries = flag.Int("tries", 15, "how often each resident of the stress test tries to break the cache's word")

// After the end of a session is acknowledged, no call that starts later succeeds with it; after a change of the user, none
// shows what was before; and whoever is spared is let in. By whichever service, whatever becomes of the Redis.
func TestNothingOfBeforeIsSeenAfterwards(t *testing.T) {
	t.Parallel()
	const residents = 20
	h, server, _ := newRedisTown(t, 3)
	h.store.hook(dawdle, dawdle)
	over := make(chan struct{})
	var trouble sync.WaitGroup
	trouble.Go(func() { makeTrouble(t, server, over) })
	t.Run("residents", func(t *testing.T) {
		for i := range residents {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				r := &resident{house: h, email: fmt.Sprintf("ada-%d@example.com", i)}
				r.user = h.signUp(t, r.email)
				for range *tries {
					r.try(t)
				}
			})
		}
	})
	close(over)
	trouble.Wait()
}

// dawdle makes the store slow now and then.
func dawdle(ctx context.Context, _, _ string) error {
	select {
	case <-time.After(rand.N(3 * time.Millisecond)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// makeTrouble kills the Redis and starts it again, at times with old data, and freezes it for less than a write waits.
func makeTrouble(t *testing.T, server *testkit.Redis, over <-chan struct{}) {
	client := server.Client()
	defer func() { _ = client.Close() }()
	for {
		select {
		case <-time.After(rand.N(200 * time.Millisecond)):
		case <-over:
			return
		}
		var err error
		switch rand.N(4) {
		case 0:
			err = client.Save(t.Context()).Err()
		case 1:
			if err = server.Freeze(); err == nil {
				<-time.After(rand.N(100 * time.Millisecond))
				err = server.Thaw()
			}
		default:
			server.Kill()
			<-time.After(rand.N(100 * time.Millisecond))
			err = server.Start()
		}
		if err != nil {
			t.Errorf("trouble with the Redis: %v", err)
			return
		}
	}
}

// resident is a user who logs in, reads, and ends sessions, again and again.
type resident struct {
	*house

	email string
	user  string
}

// session is a log-in, and what is acknowledged of it.
type session struct {
	token   string
	ended   atomic.Bool
	spared  bool         // It must be let in, always.
	version atomic.Int64 // of the user
}

func (r *resident) any() *front { return r.others[rand.N(len(r.others))] }

func (r *resident) try(t *testing.T) {
	t.Helper()
	h := &household{house: r.house, user: r.user, phone: r.any().logIn(t, r.email), laptop: r.any().logIn(t, r.email)}
	names := make([]string, 0, len(ends))
	for name := range ends {
		names = append(names, name)
	}
	slices.Sort(names)
	name := names[rand.N(len(names))]
	way := ends[name]
	phone := &session{token: h.phone.GetAccessToken()}
	laptop := &session{token: h.laptop.GetAccessToken(), spared: way.spares}
	over := make(chan struct{})
	var readers sync.WaitGroup
	for _, s := range []*session{phone, phone, laptop} {
		readers.Go(func() {
			for reading := true; reading; {
				r.check(t, s, r.any(), name)
				select {
				case <-over:
					reading = false
				case <-time.After(rand.N(5 * time.Millisecond)):
				}
			}
		})
	}
	if err := way.end(t, h, r.any()); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	phone.ended.Store(true)
	laptop.ended.Store(!way.spares)
	laptop.version.Store(r.store.user(r.user).GetVersion())
	for _, f := range r.others {
		r.check(t, phone, f, name)
		r.check(t, laptop, f, name)
	}
	close(over)
	readers.Wait()
}

// check reads by a cache service and judges the answer by what was acknowledged before.
func (r *resident) check(t *testing.T, s *session, f *front, how string) {
	t.Helper()
	ended, version := s.ended.Load(), s.version.Load()
	user, err := f.me(t.Context(), s.token)
	reason := apierr.ReasonOf(status.Convert(err))
	switch {
	case err != nil && (s.spared || reason != sessionEnded):
		t.Errorf("%s: refused with %v", how, err)
	case err == nil && ended:
		t.Errorf("%s: let in after the end", how)
	case err == nil && user.GetVersion() < version:
		t.Errorf("%s: shown version %d after %d", how, user.GetVersion(), version)
	}
}
