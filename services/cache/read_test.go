package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

// newRedisHouse gives a house on a Redis of its own, and a client to look into that.
func newRedisEnv(t *testing.T) (*testEnv, *testkit.Redis, *redis.Client) {
	t.Helper()
	return newRedisEnvOf(t, 1)
}

// newRedisTown gives a house of several cache services on one Redis, and a client to look into that.
func newRedisEnvOf(t *testing.T, fronts int) (*testEnv, *testkit.Redis, *redis.Client) {
	t.Helper()
	server := testkit.StartRedis(t)
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	return newTestEnvOf(t, config(server.URL()), fronts), server, client
}

var ofEntries = regexp.MustCompile(`cmdstat_(mget|evalsha|eval|get|set|del):calls=(\d+)`)

// commands is how many commands about entries the Redis has had, those of scripts as well.
func commands(t *testing.T, client *redis.Client) int {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, found := range ofEntries.FindAllStringSubmatch(info, -1) {
		calls, err := strconv.Atoi(found[2])
		if err != nil {
			t.Fatal(err)
		}
		total += calls
	}
	return total
}

// place finds where in the Redis something is kept.
func redisKey(t *testing.T, client *redis.Client, key string) string {
	t.Helper()
	found := client.Keys(t.Context(), "*:"+key).Val()
	if len(found) != 1 {
		t.Fatalf("%s is kept in %q", key, found)
	}
	return found[0]
}

func TestHitLeavesTheStoreAlone(t *testing.T) {
	t.Parallel()
	for name, backend := range map[string]string{"redis": cache.BackendRedis, "memory": cache.BackendMemory} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(testkit.StartRedis(t).URL())
			cfg.Backend = backend
			env := newTestEnv(t, cfg)
			id := env.store.put("ada@example.com")
			for range 5 {
				env.read(t, id)
			}
			env.wantReads(t, 1)
		})
	}
}

// One round trip to the Redis admits the caller and gives the answer.
func TestHitIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	env, _, client := newRedisEnv(t)
	id := env.store.put("ada@example.com")
	env.read(t, id)
	ctx := as(t.Context(), env.tokens[id])
	for name, call := range map[string]func() error{
		"ReadUser": func() error {
			_, err := env.users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: authn.Me})
			return err
		},
		"ReadSession": func() error {
			_, err := env.sessions.ReadSession(ctx, &gatehousev1.ReadSessionRequest{Id: authn.Current})
			return err
		},
	} {
		before := commands(t, client)
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if asked := commands(t, client) - before; asked != 1 {
			t.Errorf("%s made %d round trips", name, asked)
		}
	}
	env.wantReads(t, 1)
}

func TestReadByIDInAnyCase(t *testing.T) {
	t.Parallel()
	env, _, client := newRedisEnv(t)
	id := env.store.put("ada@example.com")
	ctx := as(t.Context(), env.store.token(id))
	for _, spelt := range []string{id, strings.ToUpper(id), authn.Me} {
		response, err := env.users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: spelt})
		if err != nil || response.GetUser().GetId() != id {
			t.Errorf("read %s: %v, error %v", spelt, response, err)
		}
	}
	env.wantReads(t, 1)
	if n := client.DBSize(t.Context()).Val(); n != 2 {
		t.Errorf("a user and a session have %d keys", n)
	}
}

func TestEntriesExpireAboutWhenTold(t *testing.T) {
	t.Parallel()
	env, _, client := newRedisEnv(t)
	id := env.store.put("ada@example.com")
	env.read(t, id)
	for _, key := range []string{"user:{" + id + "}", "session:{" + id + "}:" + env.store.session(env.tokens[id]).GetId()} {
		left := client.PTTL(t.Context(), redisKey(t, client, key)).Val()
		if left < cache.DefaultTTL*9/10-time.Minute/2 || left > cache.DefaultTTL*11/10 {
			t.Errorf("%s expires in %s, want %s give or take a tenth", key, left, cache.DefaultTTL)
		}
	}
}

func TestAnotherUserIsNotFoundWithoutAsking(t *testing.T) {
	t.Parallel()
	env, _, _ := newRedisEnv(t)
	id, other := env.store.put("ada@example.com"), env.store.put("grace@example.com")
	env.read(t, other) // So that the cache could answer.
	env.read(t, id)
	for _, foreign := range []string{other, uuid.NewString()} {
		_, err := env.users.ReadUser(as(t.Context(), env.tokens[id]), &gatehousev1.ReadUserRequest{Id: foreign})
		wantError(t, err, codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND)
	}
	env.wantReads(t, 2)
}

func TestCallsWithoutATokenAreRefused(t *testing.T) {
	t.Parallel()
	env, _, client := newRedisEnv(t)
	before := commands(t, client)
	_, err := env.users.ReadUser(t.Context(), &gatehousev1.ReadUserRequest{Id: authn.Me})
	wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING)
	_, err = env.me(t.Context(), "forged")
	wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
	env.wantReads(t, 0)
	if asked := commands(t, client); asked != before {
		t.Errorf("the Redis was asked %d times", asked-before)
	}
}

func TestErrorsOfTheStorePassAsTheyAre(t *testing.T) {
	t.Parallel()
	env, _, client := newRedisEnv(t)
	id := env.store.put("ada@example.com")
	want := status.Convert(apierr.Overloaded(3 * time.Second))
	env.store.hook(func(context.Context, string, string) error { return want.Err() }, nil)
	_, err := env.me(t.Context(), env.store.token(id))
	if got := status.Convert(err); !proto.Equal(got.Proto(), want.Proto()) {
		t.Errorf("error %v, want %v", got, want)
	}
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("an error left %d keys", n)
	}
	env.store.hook(nil, nil)
	env.read(t, id)
}

func TestConcurrentMissesReadTheStoreOnce(t *testing.T) {
	t.Parallel()
	const callers = 100
	env, gets := newCountingEnv(t)
	token := env.store.token(env.store.put("ada@example.com"))
	missed := make(chan struct{})
	env.store.hook(func(ctx context.Context, _, _ string) error { return waitFor(ctx, missed) }, nil)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := env.me(t.Context(), token); err != nil {
				t.Errorf("read: %v", err)
			}
		})
	}
	// All have missed, and the one that began the first flight has looked once more.
	testkit.Eventually(t, func() error { return atLeast("looks into the cache", gets, callers+1) })
	close(missed)
	wg.Wait()
	env.wantReads(t, 1) // The second flight has found what the first brought.
}

func atLeast(what string, counted *atomic.Int64, want int64) error {
	if got := counted.Load(); got < want {
		return fmt.Errorf("%d %s, want %d", got, what, want)
	}
	return nil
}

// flight is one read of the store that one caller began. Others wait for the next.
type sharedRead struct {
	giveUp context.CancelFunc // makes the first caller give up
	first  chan error         // how the first caller's read ended
	others chan error         // how the others' ended
	land   chan struct{}      // lets the store answer when it is closed
}

// fly begins a flight and has five others wait, with a token each. When it lands, onRead says how the store answers one
// of the first two tokens that it sees, or another.
func readConcurrently(t *testing.T, onRead func(first bool) error) (*testEnv, *sharedRead) {
	t.Helper()
	const others = 5
	env, gets := newCountingEnv(t)
	first := env.store.token(env.store.put("ada@example.com"))
	f := &sharedRead{first: make(chan error, 1), others: make(chan error, others), land: make(chan struct{})}
	arrived := make(chan struct{})
	var once sync.Once
	var second atomic.Pointer[string]
	env.store.hook(func(ctx context.Context, _, token string) error {
		once.Do(func() { close(arrived) })
		if err := waitFor(ctx, f.land); err != nil {
			return err
		}
		if token == "Bearer "+first {
			return onRead(true)
		}
		second.CompareAndSwap(nil, &token)
		return onRead(token == *second.Load())
	}, nil)
	read := func(ctx context.Context, token string, ended chan<- error) {
		_, err := env.me(ctx, token)
		ended <- err
	}
	var ctx context.Context
	ctx, f.giveUp = context.WithCancel(t.Context())
	t.Cleanup(f.giveUp)
	go read(ctx, first, f.first)
	<-arrived
	for range others {
		go read(t.Context(), env.store.anotherToken(first), f.others)
	}
	testkit.Eventually(t, func() error { return atLeast("looks into the cache", gets, 2+others) })
	return env, f
}

func TestCallerWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	env, f := readConcurrently(t, func(bool) error { return nil })
	f.giveUp()
	if err := <-f.first; status.Code(err) != codes.Canceled {
		t.Errorf("the caller who gave up got %v", err)
	}
	testkit.Eventually(t, func() error {
		if !strings.Contains(env.logged.String(), "Canceled") {
			return errors.New("the cache has not noticed")
		}
		return nil
	})
	close(f.land)
	for range cap(f.others) {
		if err := <-f.others; err != nil {
			t.Errorf("another caller got %v", err)
		}
	}
	env.wantReads(t, 1)
}

// The store takes neither the token of the first flight nor that of the second, which the others share.
func TestRefusedTokenDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	_, f := readConcurrently(t, func(refused bool) error {
		if refused {
			return apierr.AccessTokenInvalid(nil)
		}
		return nil
	})
	close(f.land)
	wantError(t, <-f.first, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
	refused := 0
	for range cap(f.others) {
		if err := <-f.others; err != nil {
			refused++
			wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
		}
	}
	if refused != 1 {
		t.Errorf("%d of the others were refused, want the one whose token it was", refused)
	}
}

// A session that has ended has ended for every token of it.
func TestEndOfASessionIsAskedForOnce(t *testing.T) {
	t.Parallel()
	env, f := readConcurrently(t, func(bool) error { return nil })
	env.store.mu.Lock()
	for _, session := range env.store.sessions {
		session.ended = true
	}
	env.store.mu.Unlock()
	close(f.land)
	wantError(t, <-f.first, codes.Unauthenticated, sessionEnded)
	for range cap(f.others) {
		wantError(t, <-f.others, codes.Unauthenticated, sessionEnded)
	}
	env.wantReads(t, 1) // The others have found the tombstone.
}

// Health says whether the service answers, which it does without a Redis.
func TestServingDoesNotWantARedis(t *testing.T) {
	t.Parallel()
	env := startTestEnv(t, 1, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.New(config("redis://127.0.0.1:1"), store, log)
	})
	for _, service := range []string{
		gatehousev1.UserService_ServiceDesc.ServiceName, gatehousev1.SessionService_ServiceDesc.ServiceName, "",
	} {
		response, err := healthpb.NewHealthClient(env.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, error %v", service, response, err)
		}
	}
	env.read(t, env.store.put("ada@example.com"))
}
