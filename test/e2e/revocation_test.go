package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// ending is a way in which a session ends. It is called through one of the replicas, and returns when the end is
// acknowledged.
type ending struct {
	name  string
	spare bool // the other session is active afterwards
	end   func(ctx context.Context, at grpc.ClientConnInterface, of parties) error
}

// parties are the session that is to end, another one of the same user, and one of an admin.
type parties struct {
	own, other, root *gatehousev1.CreateSessionResponse
}

var endings = []ending{
	{"log-out", true, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewSessionServiceClient(at).DeleteSession(withTokens(ctx, callsAs(of.own)),
			&gatehousev1.DeleteSessionRequest{Id: "current"})
		return err
	}},
	{"log-out from another session", true, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewSessionServiceClient(at).DeleteSession(withTokens(ctx, callsAs(of.other)),
			&gatehousev1.DeleteSessionRequest{Id: of.own.GetSessionId()})
		return err
	}},
	{"log-out everywhere", false, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewSessionServiceClient(at).DeleteAllSessions(withTokens(ctx, callsAs(of.own)),
			&gatehousev1.DeleteAllSessionsRequest{})
		return err
	}},
	{"log-out everywhere else", false, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewSessionServiceClient(at).DeleteAllSessions(withTokens(ctx, callsAs(of.other)),
			&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
		return err
	}},
	{"change of the password", false, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewSessionServiceClient(at).ChangePassword(withTokens(ctx, callsAs(of.other)),
			&gatehousev1.ChangePasswordRequest{Id: "me", CurrentPassword: adasPassword, NewPassword: newPassword})
		return err
	}},
	{"reuse of a refresh token", true, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		sessions := gatehousev1.NewSessionServiceClient(at)
		void, err := voidToken(ctx, sessions, of.own.GetRefreshToken())
		if err != nil {
			return err
		}
		_, err = sessions.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: void})
		if reason := apierr.ReasonOf(status.Convert(err)); reason != gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_REUSED {
			return fmt.Errorf("the reuse gives %w", err)
		}
		return nil
	}},
	{"deletion of the account", false, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewUserServiceClient(at).DeleteUser(withTokens(ctx, callsAs(of.other)),
			&gatehousev1.DeleteUserRequest{Id: "me"})
		return err
	}},
	{"disabling of the account", false, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewAdminServiceClient(at).DisableUser(withTokens(ctx, callsAs(of.root)),
			&gatehousev1.DisableUserRequest{Id: of.own.GetSession().GetUserId()})
		return err
	}},
	{"a new password from an admin", false, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewAdminServiceClient(at).ResetUserPassword(withTokens(ctx, callsAs(of.root)),
			&gatehousev1.ResetUserPasswordRequest{Id: of.own.GetSession().GetUserId(), NewPassword: newPassword})
		return err
	}},
	{"log-out everywhere by an admin", false, func(ctx context.Context, at grpc.ClientConnInterface, of parties) error {
		_, err := gatehousev1.NewAdminServiceClient(at).DeleteUserSessions(withTokens(ctx, callsAs(of.root)),
			&gatehousev1.DeleteUserSessionsRequest{UserId: of.own.GetSession().GetUserId()})
		return err
	}},
}

// fault is what happens to Redis around the end of a session.
type fault struct {
	name          string
	before, after func(*testing.T, *testkit.Redis)
}

var faults = []fault{
	{"all well", func(*testing.T, *testkit.Redis) {}, func(*testing.T, *testkit.Redis) {}},
	{"killed and back before it", func(t *testing.T, redis *testkit.Redis) {
		redis.Kill()
		restart(t, redis)
	}, func(*testing.T, *testkit.Redis) {}},
	{"away while it happens", func(_ *testing.T, redis *testkit.Redis) { redis.Kill() }, restart},
	{"killed after it", func(*testing.T, *testkit.Redis) {}, func(t *testing.T, redis *testkit.Redis) {
		redis.Kill()
		restart(t, redis)
	}},
}

func restart(t *testing.T, redis *testkit.Redis) {
	if err := redis.Start(); err != nil {
		t.Error(err)
	}
}

// TestRevocation ends sessions in every way while they are used at every
// replica, with Redis being killed in between. A call that starts after the acknowledgement must fail.
func TestRevocation(t *testing.T) {
	t.Parallel()
	t.Run("one_process", func(t *testing.T) {
		t.Parallel()
		endSessions(t, []*testEnv{startUp(t, t.TempDir(), cheapHashes...)}, faults[:1])
	})
	t.Run("three_of_each_service", func(t *testing.T) {
		t.Parallel()
		endSessions(t, startReplicas(t, cluster.NewInfra(t, binary), 3, cheapHashes...), faults)
	})
}

func endSessions(t *testing.T, replicas []*testEnv, faults []fault) {
	t.Helper()
	const tries = 25
	var early, late atomic.Int64
	root := openSession(t, replicas[0], makeAdmin(t, replicas[0], "root@example.com"))
	for round := range revocationRounds {
		for _, fault := range faults {
			for i, ending := range endings {
				t.Run(fmt.Sprintf("%s, Redis %s, round %d", ending.name, fault.name, round), func(t *testing.T) {
					r := newRevocation(t, replicas)
					fault.before(t, replicas[0].redis)
					r.endAt(t, replicas[(i+round)%len(replicas)], ending, root)
					fault.after(t, replicas[0].redis)
					r.tryOn(t, tries)
					r.othersStand(t, ending)
					late.Add(r.late.Load())
					early.Add(r.early.Load())
				})
			}
		}
	}
	t.Logf("%d calls succeeded before the end was acknowledged, %d were tried after", early.Load(), late.Load())
	enough := int64(revocationRounds * tries * len(faults) * len(endings) * len(replicas))
	if late.Load() < enough || early.Load() == 0 {
		t.Errorf("%d calls succeeded before the end was acknowledged and %d were tried after, not %d: too few to show anything",
			early.Load(), late.Load(), enough)
	}
}

// revocation is a session that is used at every replica until it has ended, and for a while after.
type revocation struct {
	replicas     []*testEnv
	own, other   *gatehousev1.CreateSessionResponse
	acknowledged atomic.Bool
	stop         context.CancelFunc
	users        sync.WaitGroup
	early, late  atomic.Int64 // calls that succeeded before the acknowledgement, and that started after it
}

func newRevocation(t *testing.T, replicas []*testEnv) *revocation {
	t.Helper()
	user := signUp(t, replicas[0], (&fixtures{}).address("ada"))
	r := &revocation{
		replicas: replicas, own: openSession(t, replicas[0], user.GetEmail()), other: openSession(t, replicas[len(replicas)-1], user.GetEmail()),
	}
	for _, replica := range replicas { // Both sessions are in the cache, and the tokens are known everywhere.
		for _, session := range []*gatehousev1.CreateSessionResponse{r.own, r.other} {
			if err := callAs(callContext(t), replica, session); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	for _, replica := range replicas {
		r.users.Go(func() {
			for ctx.Err() == nil {
				r.use(context.WithoutCancel(ctx), t, replica)
			}
		})
	}
	return r
}

// use makes a call with the session.
func (r *revocation) use(ctx context.Context, t *testing.T, replica *testEnv) {
	ended := r.acknowledged.Load() // Before the call starts.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := callAs(ctx, replica, r.own)
	switch {
	case !ended && err == nil:
		r.early.Add(1)
	case ended:
		r.late.Add(1)
		reason := apierr.ReasonOf(status.Convert(err))
		if reason != gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED {
			t.Errorf("after the end was acknowledged a call gave %v", err)
		}
	}
}

func callAs(ctx context.Context, at *testEnv, session *gatehousev1.CreateSessionResponse) error {
	_, err := gatehousev1.NewUserServiceClient(at.conn).ReadUser(withTokens(ctx, callsAs(session)),
		&gatehousev1.ReadUserRequest{Id: "me"})
	return err
}

func (r *revocation) endAt(t *testing.T, replica *testEnv, ending ending, root *gatehousev1.CreateSessionResponse) {
	t.Helper()
	err := ending.end(callContext(t), replica.conn, parties{r.own, r.other, root})
	r.acknowledged.Store(true)
	if err != nil {
		t.Errorf("the session could not be ended: %v", err)
	}
}

// tryOn tries the session at every replica beside those who use it all the time, and ends them.
func (r *revocation) tryOn(t *testing.T, tries int) {
	t.Helper()
	for range tries {
		for _, replica := range r.replicas {
			r.use(t.Context(), t, replica)
		}
	}
	r.stop()
	r.users.Wait()
}

func (r *revocation) othersStand(t *testing.T, ending ending) {
	t.Helper()
	for _, replica := range r.replicas {
		if err := callAs(callContext(t), replica, r.other); (err == nil) != ending.spare {
			t.Errorf("the other session of the user: %v", err)
		}
	}
}
