package cache_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
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
func newRedisHouse(t *testing.T) (*house, *testkit.Redis, *redis.Client) {
	t.Helper()
	server := testkit.StartRedis(t)
	client := server.Client()
	t.Cleanup(func() { _ = client.Close() })
	return newHouse(t, config(server.URL())), server, client
}

// gets is how often the Redis was asked for an entry. The scripts count, too.
func gets(t *testing.T, client *redis.Client) int {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, found, called := strings.Cut(info, "cmdstat_get:calls=")
	if !called {
		return 0
	}
	number, _, _ := strings.Cut(found, ",")
	calls, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func wantError(t *testing.T, err error, code codes.Code, reason gatehousev1.ErrorReason) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code || apierr.ReasonOf(st) != reason {
		t.Errorf("error %v, want %s with %s", err, code, reason)
	}
}

func TestHitLeavesTheStoreAlone(t *testing.T) {
	t.Parallel()
	for name, backend := range map[string]string{"redis": cache.BackendRedis, "memory": cache.BackendMemory} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(testkit.StartRedis(t).URL())
			cfg.Backend = backend
			h := newHouse(t, cfg)
			id := h.store.put("ada@example.com")
			for range 5 {
				h.read(t, id)
			}
			h.wantReads(t, 1)
			if h.store.asked[0] != id {
				t.Errorf("the store was asked for %q, want the id", h.store.asked[0])
			}
		})
	}
}

func TestReadByIDInAnyCase(t *testing.T) {
	t.Parallel()
	h, _, client := newRedisHouse(t)
	id := h.store.put("ada@example.com")
	for _, spelt := range []string{id, strings.ToUpper(id), authn.Me} {
		response, err := h.users.ReadUser(as(t.Context(), h.store.token(id)), &gatehousev1.ReadUserRequest{Id: spelt})
		if err != nil || response.GetUser().GetId() != id {
			t.Errorf("read %s: %v, error %v", spelt, response, err)
		}
	}
	h.wantReads(t, 1)
	if n := client.DBSize(t.Context()).Val(); n != 1 {
		t.Errorf("one user has %d keys", n)
	}
}

func TestEntriesExpireAboutWhenTold(t *testing.T) {
	t.Parallel()
	h, _, client := newRedisHouse(t)
	id := h.store.put("ada@example.com")
	h.read(t, id)
	left := client.PTTL(t.Context(), "user:{"+id+"}").Val()
	if left < cache.DefaultTTL*9/10-time.Minute/2 || left > cache.DefaultTTL*11/10 {
		t.Errorf("the entry expires in %s, want %s give or take a tenth", left, cache.DefaultTTL)
	}
}

func TestAnotherUserIsNotFoundWithoutAsking(t *testing.T) {
	t.Parallel()
	h, _, client := newRedisHouse(t)
	id, other := h.store.put("ada@example.com"), h.store.put("grace@example.com")
	h.read(t, other) // So that the cache could answer.
	before := gets(t, client)
	for _, foreign := range []string{other, uuid.NewString()} {
		_, err := h.users.ReadUser(as(t.Context(), h.store.token(id)), &gatehousev1.ReadUserRequest{Id: foreign})
		wantError(t, err, codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND)
	}
	h.wantReads(t, 1)
	if asked := gets(t, client) - before; asked != 0 {
		t.Errorf("the Redis was asked %d times", asked)
	}
}

func TestCallsWithoutATokenAreRefused(t *testing.T) {
	t.Parallel()
	h, _, _ := newRedisHouse(t)
	_, err := h.users.ReadUser(t.Context(), &gatehousev1.ReadUserRequest{Id: authn.Me})
	wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING)
	_, err = h.users.ReadUser(as(t.Context(), "forged"), &gatehousev1.ReadUserRequest{Id: authn.Me})
	wantError(t, err, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
	h.wantReads(t, 0)
}

func TestErrorsOfTheStorePassAsTheyAre(t *testing.T) {
	t.Parallel()
	h, _, client := newRedisHouse(t)
	id := h.store.put("ada@example.com")
	want := status.Convert(apierr.Overloaded(3 * time.Second))
	h.store.hook(func(context.Context, string) error { return want.Err() })
	_, err := h.users.ReadUser(as(t.Context(), h.store.token(id)), &gatehousev1.ReadUserRequest{Id: authn.Me})
	if got := status.Convert(err); !proto.Equal(got.Proto(), want.Proto()) {
		t.Errorf("error %v, want %v", got, want)
	}
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("an error left %d keys", n)
	}
	h.store.hook(nil)
	h.read(t, id)
}

func TestConcurrentMissesReadTheStoreOnce(t *testing.T) {
	t.Parallel()
	const callers = 100
	h, gets := newCountingHouse(t)
	id := h.store.put("ada@example.com")
	missed := make(chan struct{})
	h.store.hook(func(ctx context.Context, _ string) error { return waitFor(ctx, missed) })
	ctx := as(t.Context(), h.store.token(id))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			response, err := h.users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: authn.Me})
			if err != nil || response.GetUser().GetId() != id {
				t.Errorf("read: %v, error %v", response, err)
			}
		})
	}
	// All have missed, and the one that began the flight has looked once more.
	eventually(t, "all callers have missed", func() bool { return gets.Load() > callers })
	close(missed)
	wg.Wait()
	h.wantReads(t, 1)
}

// waitFor ends when open is closed, and with an error if ctx is done before.
func waitFor(ctx context.Context, open <-chan struct{}) error {
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flight is one read of the store that one caller began and others wait for.
type flight struct {
	giveUp context.CancelFunc // makes the first caller give up
	first  chan error         // how the first caller's read ended
	others chan error         // how the others' ended
	land   chan struct{}      // lets the store answer when it is closed
}

// fly begins a flight and has five others wait for it. When it lands, onRead says how the store answers the first
// caller's token or another.
func fly(t *testing.T, onRead func(first bool) error) (*house, *flight) {
	t.Helper()
	const others = 5
	h, gets := newCountingHouse(t)
	id := h.store.put("ada@example.com")
	f := &flight{first: make(chan error, 1), others: make(chan error, others), land: make(chan struct{})}
	arrived := make(chan struct{})
	var once sync.Once
	first := h.store.token(id)
	h.store.hook(func(ctx context.Context, token string) error {
		once.Do(func() { close(arrived) })
		if err := waitFor(ctx, f.land); err != nil {
			return err
		}
		return onRead(token == "Bearer "+first)
	})
	read := func(ctx context.Context, token string, ended chan<- error) {
		response, err := h.users.ReadUser(as(ctx, token), &gatehousev1.ReadUserRequest{Id: authn.Me})
		if err == nil && response.GetUser().GetId() != id {
			err = fmt.Errorf("wrong answer %v", response)
		}
		ended <- err
	}
	var ctx context.Context
	ctx, f.giveUp = context.WithCancel(t.Context())
	t.Cleanup(f.giveUp)
	go read(ctx, first, f.first)
	<-arrived
	for range others {
		go read(t.Context(), h.store.token(id), f.others)
	}
	eventually(t, "the others have missed", func() bool { return gets.Load() >= 2+others })
	return h, f
}

func (f *flight) wantOthersAnswered(t *testing.T) {
	t.Helper()
	for range cap(f.others) {
		if err := <-f.others; err != nil {
			t.Errorf("another caller got %v", err)
		}
	}
}

func TestCallerWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	h, f := fly(t, func(bool) error { return nil })
	f.giveUp()
	if err := <-f.first; status.Code(err) != codes.Canceled {
		t.Errorf("the caller who gave up got %v", err)
	}
	eventually(t, "the cache has noticed", func() bool { return strings.Contains(h.logged.String(), "Canceled") })
	close(f.land)
	f.wantOthersAnswered(t)
	h.wantReads(t, 1)
}

func TestRefusedTokenDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	_, f := fly(t, func(first bool) error {
		if first {
			return apierr.AccessTokenInvalid(nil)
		}
		return nil
	})
	close(f.land)
	wantError(t, <-f.first, codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID)
	f.wantOthersAnswered(t)
}

// Health says whether the service answers, which it does without a Redis.
func TestServingDoesNotWantARedis(t *testing.T) {
	t.Parallel()
	h := newHouse(t, config("redis://127.0.0.1:1"))
	for _, service := range []string{
		gatehousev1.UserService_ServiceDesc.ServiceName, gatehousev1.SessionService_ServiceDesc.ServiceName, "",
	} {
		response, err := healthpb.NewHealthClient(h.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, error %v", service, response, err)
		}
	}
	h.read(t, h.store.put("ada@example.com"))
}
