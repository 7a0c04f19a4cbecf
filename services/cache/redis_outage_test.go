//go:build servers

package cache_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// wantFewWarnings fails unless that an outage was logged, but not with each request.
func (env *testEnv) wantFewWarnings(t *testing.T) {
	t.Helper()
	log := env.logged.String()
	if warnings := strings.Count(log, `"level":"WARN"`); warnings == 0 || warnings > 5 {
		t.Errorf("the outage made %d warnings:\n%s", warnings, log)
	}
	if down := strings.Count(log, "cache backend is down"); down != 1 {
		t.Errorf("that the backend is down is logged %d times", down)
	}
	if back := strings.Count(log, "cache backend is back"); back != 1 {
		t.Errorf("that the backend is back is logged %d times", back)
	}
}

func TestRedisOutage(t *testing.T) {
	t.Parallel()
	// One service has noticed that the Redis is back, another has not, and that is where somebody logs out.
	t.Run("mandatory_writes_are_tried_while_reads_are_not", func(t *testing.T) {
		t.Parallel()
		env, server, _ := newRedisEnvOf(t, 2)
		fix := env.newFixture(t)
		aware, unaware := env.replicas[0], env.replicas[1]
		server.Kill()
		for range 10 {
			unaware.wantIn(t, env.store, fix.phone.GetAccessToken())
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		aware.wantIn(t, env.store, fix.phone.GetAccessToken())
		if err := unaware.logOut(t.Context(), fix.phone.GetAccessToken(), authn.Current); err != nil {
			t.Fatal(err)
		}
		env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
	})
	// A Redis that hangs does not receive a log-out in time. The service that knows of it does not use the entry, and
	// tells the Redis as soon as it goes on.
	t.Run("missed_changes_are_invalidated_later", func(t *testing.T) {
		t.Parallel()
		env, server, _ := newRedisEnvOf(t, 2)
		fix := env.newFixture(t)
		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := env.logOut(t.Context(), fix.phone.GetAccessToken(), authn.Current); err != nil {
			t.Fatal(err)
		}
		env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
		if err := server.Thaw(); err != nil {
			t.Fatal(err)
		}
		env.replica.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
		testkit.Eventually(t, func() error {
			_, err := env.replicas[1].me(t.Context(), fix.phone.GetAccessToken())
			if apierr.ReasonOf(status.Convert(err)) == sessionEnded {
				return nil
			}
			return status.Error(codes.Unknown, "another service was not told")
		})
		env.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
	})
	t.Run("dies_and_comes_back", func(t *testing.T) {
		t.Parallel()
		const reads = 200
		env, server, _ := newRedisEnv(t)
		id := env.signUp(t, "ada@example.com")
		env.read(t, id)
		env.wantReads(t, 1)

		server.Kill()
		for range reads {
			env.read(t, id)
		}
		env.wantReads(t, 1+reads)
		env.read(t, env.signUp(t, "grace@example.com")) // Writes go through as well.

		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		env.readUntilCached(t, id)
		env.wantFewWarnings(t)
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		const reads = 100
		env, server, _ := newRedisEnv(t)
		id := env.signUp(t, "ada@example.com")
		if err := server.Freeze(); err != nil {
			t.Fatal(err)
		}
		for range reads {
			env.read(t, id)
		}
		env.wantReads(t, reads)
		if err := server.Thaw(); err != nil {
			t.Fatal(err)
		}
		env.readUntilCached(t, id)
		env.wantFewWarnings(t)
	})
}
