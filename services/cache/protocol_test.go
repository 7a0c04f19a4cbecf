package cache_test

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

// restart kills a Redis and starts it again: empty, or with what was saved before.
func restart(t *testing.T, server *testkit.Redis) {
	t.Helper()
	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

// A read that is slow has seen a session that stood. Meanwhile somebody logged out, and the Redis has forgotten that.
func TestASlowReadDoesNotBringASessionBack(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*testing.T, *testkit.Redis){
		"Redis goes on":         func(*testing.T, *testkit.Redis) {},
		"Redis comes back new":  restart,
		"Redis comes back late": restart,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, server, _ := newRedisEnvOf(t, 3)
			house := env.newFixture(t)
			tablet := env.store.token(house.user)
			seen, answer := env.store.block("ReadSession")
			read := make(chan error, 1)
			go func() {
				_, err := env.replicas[1].me(t.Context(), tablet)
				read <- err
			}()
			<-seen
			if err := env.logOut(t.Context(), tablet, authn.Current); err != nil {
				t.Fatal(err)
			}
			forget(t, server)
			if name == "Redis comes back late" {
				env.replicas[1].wantIn(t, env.store, house.phone.GetAccessToken()) // It knows the new run.
			}
			close(answer)
			if err := <-read; err != nil {
				t.Fatalf("a read that began before the log-out: %v", err)
			}
			env.wantOut(t, tablet, sessionEnded)
		})
	}
}

// A refresh that is slow was committed before somebody logged out, and would be kept after the Redis has forgotten that.
func TestASlowRefreshDoesNotBringASessionBack(t *testing.T) {
	t.Parallel()
	env, server, _ := newRedisEnvOf(t, 3)
	house := env.newFixture(t)
	seen, answer := env.store.block("RefreshSession")
	refreshed := make(chan error, 1)
	go func() {
		_, err := env.replicas[1].refresh(t.Context(), house.phone.GetRefreshToken())
		refreshed <- err
	}()
	<-seen
	if err := env.logOut(t.Context(), house.phone.GetAccessToken(), authn.Current); err != nil {
		t.Fatal(err)
	}
	restart(t, server)
	for _, r := range env.replicas { // The Redis knows the user again, and all know the Redis.
		r.wantIn(t, env.store, house.laptop.GetAccessToken())
	}
	close(answer)
	if err := <-refreshed; err != nil {
		t.Fatal(err)
	}
	env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
}

// The Redis dies when the store has committed the end, and comes back before anybody asks.
func TestTheEndIsKnownThoughRedisDiedMeanwhile(t *testing.T) {
	t.Parallel()
	env, server, client := newRedisEnvOf(t, 3)
	house := env.newFixture(t)
	if err := client.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	seen, answer := env.store.block("DeleteSession")
	ended := make(chan error, 1)
	go func() { ended <- env.replicas[1].logOut(t.Context(), house.phone.GetAccessToken(), authn.Current) }()
	<-seen
	server.Kill()
	close(answer)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
	env.readUntilCached(t, house.user)
	env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
}

// The Redis comes back with what it knew before the end.
func TestOldDataOfRedisIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, way := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, server, client := newRedisEnvOf(t, 2)
			house := env.newFixture(t)
			if err := client.Save(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if err := way.end(t, house, env.replicas[1]); err != nil {
				t.Fatal(err)
			}
			restart(t, server)
			if size := client.DBSize(t.Context()).Val(); size == 0 {
				t.Fatal("the Redis came back without its data")
			}
			env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
			if way.spares {
				env.wantIn(t, env.store, house.laptop.GetAccessToken())
			}
		})
	}
}

// One service has noticed that the Redis is back, another has not, and that is where somebody logs out.
func TestWhoGivesUpReadingGoesOnWriting(t *testing.T) {
	t.Parallel()
	env, server, _ := newRedisEnvOf(t, 2)
	house := env.newFixture(t)
	aware, unaware := env.replicas[0], env.replicas[1]
	server.Kill()
	for range 10 {
		unaware.wantIn(t, env.store, house.phone.GetAccessToken())
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	aware.wantIn(t, env.store, house.phone.GetAccessToken())
	if err := unaware.logOut(t.Context(), house.phone.GetAccessToken(), authn.Current); err != nil {
		t.Fatal(err)
	}
	env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
}

// A Redis that hangs is not told of a log-out in time. Who knows of it does not believe what is there, and tells the
// Redis as soon as it goes on.
func TestWhatRedisMissedIsToldLater(t *testing.T) {
	t.Parallel()
	env, server, _ := newRedisEnvOf(t, 2)
	house := env.newFixture(t)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := env.logOut(t.Context(), house.phone.GetAccessToken(), authn.Current); err != nil {
		t.Fatal(err)
	}
	env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	env.replica.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
	testkit.Eventually(t, func() error {
		_, err := env.replicas[1].me(t.Context(), house.phone.GetAccessToken())
		if apierr.ReasonOf(status.Convert(err)) == sessionEnded {
			return nil
		}
		return status.Error(codes.Unknown, "another service was not told")
	})
	env.wantOut(t, house.phone.GetAccessToken(), sessionEnded)
}

// Without a cache, all that protects a caller from an answer of before is that nobody joins a read that is under way.
func TestNobodyJoinsAReadFromBeforeALogOut(t *testing.T) {
	t.Parallel()
	asked := new(atomic.Int64)
	env := startTestEnv(t, 2, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.NewFailing(config(""), store, log, asked)
	})
	for _, r := range env.replicas {
		r.wantFollowing(t)
	}
	token := env.store.token(env.store.put("ada@example.com"))
	seen, answer := env.store.block("ReadSession")
	read := func(ended chan<- error) {
		_, err := env.me(t.Context(), token)
		ended <- err
	}
	before, after := make(chan error, 1), make(chan error, 1)
	go read(before)
	<-seen
	if err := env.replicas[1].logOut(t.Context(), token, authn.Current); err != nil {
		t.Fatal(err)
	}
	settled := asked.Load()
	go read(after)
	testkit.Eventually(t, func() error { return atLeast("questions", asked, settled+1) })
	close(answer)
	if err := <-before; err != nil {
		t.Errorf("who came before the log-out got %v", err)
	}
	wantError(t, <-after, codes.Unauthenticated, sessionEnded)
}
