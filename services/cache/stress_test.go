package cache_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// tries is how often each of the residents tries. 100 take about two minutes with the race detector.
var tries = flag.Int("tries", 15, "how often each resident of the stress test tries to break the cache's word")

// After the end of a session is acknowledged, no call that starts later succeeds with it; after a change of the user, none
// shows what was before; after the loss of a role, none is let do what it allowed; and whoever is spared is let in. By
// whichever service, whatever becomes of the Redis.
func TestNothingOfBeforeIsSeenAfterwards(t *testing.T) {
	t.Parallel()
	const residents, officials = 20, 4
	env, server, _ := newRedisEnvOf(t, 3)
	env.store.hook(delayRandomly, delayRandomly)
	over := make(chan struct{})
	var trouble sync.WaitGroup
	trouble.Go(func() { injectFaults(t, server, over) })
	t.Run("residents", func(t *testing.T) {
		for i := range residents {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				r := &randomUser{testEnv: env, email: fmt.Sprintf("ada-%d@example.com", i)}
				for range *tries {
					r.start(t)
					r.try(t)
				}
			})
		}
		for i := range officials {
			t.Run(fmt.Sprintf("official %d", i), func(t *testing.T) {
				t.Parallel()
				email := fmt.Sprintf("grace-%d@example.com", i)
				o := &randomAdmin{testEnv: env, email: email, user: env.signUp(t, email)}
				for range *tries {
					o.try(t)
				}
			})
		}
	})
	close(over)
	trouble.Wait()
}

// dawdle makes the store slow now and then.
func delayRandomly(ctx context.Context, _, _ string) error {
	select {
	case <-time.After(rand.N(3 * time.Millisecond)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// makeTrouble kills the Redis and starts it again, at times with old data, and freezes it for less than a write waits.
func injectFaults(t *testing.T, server *testkit.Redis, over <-chan struct{}) {
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
type randomUser struct {
	*testEnv

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

func (env *testEnv) anyReplica() *replica { return env.replicas[rand.N(len(env.replicas))] }

// settle makes an account that can be used, if there is none.
func (u *randomUser) start(t *testing.T) {
	t.Helper()
	user := u.store.user(u.user)
	if user == nil {
		u.user = u.signUp(t, u.email)
	}
	if user.GetState() == gatehousev1.UserState_USER_STATE_DISABLED {
		if err := u.anyReplica().enable(t.Context(), u.admin, u.user); err != nil {
			t.Fatal(err)
		}
	}
}

func (u *randomUser) try(t *testing.T) {
	t.Helper()
	fix := &accountFixture{testEnv: u.testEnv, user: u.user, phone: u.anyReplica().logIn(t, u.email), laptop: u.anyReplica().logIn(t, u.email)}
	name, way, ending := randomRevocation()
	phone := &session{token: fix.phone.GetAccessToken(), spared: !ending}
	laptop := &session{token: fix.laptop.GetAccessToken(), spared: way.spares}
	over := make(chan struct{})
	var readers sync.WaitGroup
	for _, s := range []*session{phone, phone, laptop} {
		readers.Go(func() { until(over, func() { u.check(t, s, u.anyReplica(), name) }) })
	}
	if err := way.end(t, fix, u.anyReplica()); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	phone.ended.Store(!phone.spared)
	laptop.ended.Store(!laptop.spared)
	for _, s := range []*session{phone, laptop} {
		s.version.Store(u.store.user(u.user).GetVersion())
	}
	for _, r := range u.replicas {
		u.check(t, phone, r, name)
		u.check(t, laptop, r, name)
	}
	close(over)
	readers.Wait()
}

// anyWay gives something to do to a household, and whether it ends the session on the phone.
func randomRevocation() (name string, chosen revocation, ending bool) {
	ways := updates
	if rand.N(3) > 0 {
		ways, ending = ends, true
	}
	names := slices.Sorted(maps.Keys(ways))
	name = names[rand.N(len(names))]
	return name, ways[name], ending
}

// until does something again and again, and at least once.
func until(over <-chan struct{}, do func()) {
	for {
		do()
		select {
		case <-over:
			return
		case <-time.After(rand.N(5 * time.Millisecond)):
		}
	}
}

// official is a user who is made an admin and no admin, again and again.
type randomAdmin struct {
	*testEnv

	email, user string
}

func (o *randomAdmin) try(t *testing.T) {
	t.Helper()
	if err := o.anyReplica().setRoles(t.Context(), o.admin, o.user, authn.RoleAdmin, authn.RoleUser); err != nil {
		t.Fatal(err)
	}
	token := o.anyReplica().logIn(t, o.email).GetAccessToken()
	var demoted atomic.Bool
	check := func(r *replica) {
		was := demoted.Load()
		err := r.listUsers(t.Context(), token)
		switch reason := apierr.ReasonOf(status.Convert(err)); {
		case err == nil && was:
			t.Error("a user who is no admin any more may list users")
		case err != nil && reason != roleRequired:
			t.Errorf("refused with %v", err)
		}
	}
	for _, r := range o.replicas {
		if err := r.listUsers(t.Context(), token); err != nil {
			t.Errorf("a new admin is refused with %v", err)
		}
	}
	over := make(chan struct{})
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() { until(over, func() { check(o.anyReplica()) }) })
	}
	if err := o.anyReplica().setRoles(t.Context(), o.admin, o.user, authn.RoleUser); err != nil {
		t.Error(err)
	}
	demoted.Store(true)
	for _, r := range o.replicas {
		check(r)
	}
	close(over)
	callers.Wait()
}

// check reads by a cache service and judges the answer by what was acknowledged before.
func (u *randomUser) check(t *testing.T, s *session, r *replica, how string) {
	t.Helper()
	ended, version := s.ended.Load(), s.version.Load()
	user, err := r.me(t.Context(), s.token)
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
