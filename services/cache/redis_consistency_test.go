//go:build servers

package cache_test

import (
	"context"
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

// delayRandomly makes a call of the store slow.
func delayRandomly(ctx context.Context, _, _ string) error {
	select {
	case <-time.After(rand.N(3 * time.Millisecond)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// injectFaults restarts Redis, at times with old data, and freezes it for less than the timeout of a write.
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
			t.Errorf("inject a fault: %v", err)
			return
		}
	}
}

// randomUser logs in, reads, and ends sessions, again and again.
type randomUser struct {
	*testEnv

	email string
	user  string
}

// session is a log-in, and what was acknowledged about it.
type session struct {
	token   string
	ended   atomic.Bool
	spared  bool         // It must always be valid.
	version atomic.Int64 // of the user
}

func (env *testEnv) anyReplica() *replica { return env.replicas[rand.N(len(env.replicas))] }

// start creates the account if it does not exist, and enables it.
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

// randomRevocation returns a change of an account, and whether it ends the session on the phone.
func randomRevocation() (name string, chosen revocation, ending bool) {
	ways := updates
	if rand.N(3) > 0 {
		ways, ending = ends, true
	}
	names := slices.Sorted(maps.Keys(ways))
	name = names[rand.N(len(names))]
	return name, ways[name], ending
}

// until repeats a function, and calls it at least once.
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

// randomAdmin is a user that is granted and refused the role admin, again and again.
type randomAdmin struct {
	*testEnv

	email, user string
}

func (a *randomAdmin) try(t *testing.T) {
	t.Helper()
	if err := a.anyReplica().setRoles(t.Context(), a.admin, a.user, authn.RoleAdmin, authn.RoleUser); err != nil {
		t.Fatal(err)
	}
	token := a.anyReplica().logIn(t, a.email).GetAccessToken()
	var demoted atomic.Bool
	check := func(r *replica) {
		was := demoted.Load()
		err := r.listUsers(t.Context(), token)
		switch reason := apierr.ReasonOf(status.Convert(err)); {
		case err == nil && was:
			t.Error("a former admin may list users")
		case err != nil && reason != roleRequired:
			t.Errorf("rejected with %v", err)
		}
	}
	for _, r := range a.replicas {
		if err := r.listUsers(t.Context(), token); err != nil {
			t.Errorf("a new admin is rejected with %v", err)
		}
	}
	over := make(chan struct{})
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() { until(over, func() { check(a.anyReplica()) }) })
	}
	if err := a.anyReplica().setRoles(t.Context(), a.admin, a.user, authn.RoleUser); err != nil {
		t.Error(err)
	}
	demoted.Store(true)
	for _, r := range a.replicas {
		check(r)
	}
	close(over)
	callers.Wait()
}

// check reads by a cache service, and compares the answer with what was acknowledged before.
func (u *randomUser) check(t *testing.T, s *session, r *replica, how string) {
	t.Helper()
	ended, version := s.ended.Load(), s.version.Load()
	user, err := r.me(t.Context(), s.token)
	reason := apierr.ReasonOf(status.Convert(err))
	switch {
	case err != nil && (s.spared || reason != sessionEnded):
		t.Errorf("%s: rejected with %v", how, err)
	case err == nil && ended:
		t.Errorf("%s: accepted after the end", how)
	case err == nil && user.GetVersion() < version:
		t.Errorf("%s: shown version %d after %d", how, user.GetVersion(), version)
	}
}

// TestConsistency makes random changes by random services while Redis fails. No call that starts after the end of a
// session was acknowledged succeeds with it; none after a change shows the state before it; none after the loss of a
// role is allowed what the role allows; and all other sessions remain valid.
func TestConsistency(t *testing.T) { // Not beside others: it uses all cores.
	const users, admins = 20, 4
	env, server, _ := newRedisEnvOf(t, 3)
	env.store.hook(delayRandomly, delayRandomly)
	over := make(chan struct{})
	var faults, running sync.WaitGroup
	faults.Go(func() { injectFaults(t, server, over) })
	// All at once: parallel subtests would run only a few at a time.
	for i := range users {
		running.Go(func() {
			t.Run(fmt.Sprintf("user_%d", i), func(t *testing.T) {
				u := &randomUser{testEnv: env, email: fmt.Sprintf("ada-%d@example.com", i)}
				for range consistencyRounds {
					u.start(t)
					u.try(t)
				}
			})
		})
	}
	for i := range admins {
		running.Go(func() {
			t.Run(fmt.Sprintf("admin_%d", i), func(t *testing.T) {
				email := fmt.Sprintf("grace-%d@example.com", i)
				a := &randomAdmin{testEnv: env, email: email, user: env.signUp(t, email)}
				for range consistencyRounds {
					a.try(t)
				}
			})
		})
	}
	running.Wait()
	close(over)
	faults.Wait()
}
