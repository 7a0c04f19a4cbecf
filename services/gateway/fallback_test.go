package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	aRead   = gatehousev1.UserService_ReadUser_FullMethodName
	aChange = gatehousev1.UserService_UpdateUser_FullMethodName
	aSignUp = gatehousev1.UserService_CreateUser_FullMethodName
)

// requests of methods that are repeated because of what the request says.
var requests = map[string]any{aSignUp: &gatehousev1.CreateUserRequest{RequestId: "1"}}

// link is a connection to a service: it counts the calls, and answers as it is told.
type link struct {
	answer func(ctx context.Context, method string) error
	calls  atomic.Int64
	health atomic.Int64
}

// errUnsent is a call that finds no connection.
var errUnsent = status.Error(codes.Unavailable, "connection error: nobody listens")

func (l *link) Invoke(ctx context.Context, method string, _, _ any, options ...grpc.CallOption) error {
	if method == healthpb.Health_Check_FullMethodName {
		l.health.Add(1)
	} else {
		l.calls.Add(1)
	}
	err := l.answer(ctx, method)
	for _, option := range options {
		if at, ok := option.(grpc.PeerCallOption); ok && !errors.Is(err, errUnsent) {
			*at.PeerAddr = peer.Peer{Addr: &address{}}
		}
	}
	return err
}

type address struct{}

func (*address) Network() string { return "test" }
func (*address) String() string  { return "test" }

func (l *link) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("there are no streams")
}

func fine(context.Context, string) error { return nil }

// always answers every call with an error, and health as one that lives.
func always(err error) func(context.Context, string) error {
	return func(_ context.Context, method string) error {
		if method == healthpb.Health_Check_FullMethodName {
			return nil
		}
		return err
	}
}

// frozen answers nothing at all.
func frozen(ctx context.Context, _ string) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// slow answers after some seconds, and says that it lives at once.
func slow(ctx context.Context, method string) error {
	if method == healthpb.Health_Check_FullMethodName {
		return nil
	}
	select {
	case <-time.After(5 * time.Second):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func newLinks(t *testing.T, answer func(context.Context, string) error) (f *fallback, cache, store *link) {
	t.Helper()
	cache, store = &link{answer: answer}, &link{answer: fine}
	return newFallback(Upstreams{Cache: cache, Store: store}, slog.New(slog.DiscardHandler)), cache, store
}

func TestCallsGoPastACacheServiceThatDoesNotAnswer(t *testing.T) {
	unavailable := apierr.Status(apierr.Unavailable(nil)).Err()
	refused := apierr.Status(apierr.VersionMismatch()).Err()
	died := status.Error(codes.Unavailable, "error reading from server: EOF")
	for name, test := range map[string]struct {
		answer  func(context.Context, string) error
		method  string
		atStore int64
		code    codes.Code
	}{
		"a read, answered":                   {fine, aRead, 0, codes.OK},
		"a change, answered":                 {fine, aChange, 0, codes.OK},
		"a read that never went":             {always(errUnsent), aRead, 1, codes.OK},
		"a change that never went":           {always(errUnsent), aChange, 1, codes.OK},
		"a read whose answer was lost":       {always(died), aRead, 1, codes.OK},
		"a change whose answer was lost":     {always(died), aChange, 0, codes.Unavailable},
		"a refusal":                          {always(refused), aChange, 0, codes.Aborted},
		"the store is down, by the cache":    {always(unavailable), aRead, 0, codes.Unavailable},
		"a read of one that is frozen":       {frozen, aRead, 1, codes.OK},
		"a change of one that is frozen":     {frozen, aChange, 0, codes.DeadlineExceeded},
		"a read that waits for the database": {slow, aRead, 0, codes.OK},
		"a sign-up whose answer was lost":    {always(died), aSignUp, 1, codes.OK},
		"a sign-up of one that is frozen":    {frozen, aSignUp, 1, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, store := newLinks(t, test.answer)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := f.Invoke(ctx, test.method, requests[test.method], nil)
				if status.Code(err) != test.code || store.calls.Load() != test.atStore {
					t.Errorf("error is %v, and the store was asked %d times", err, store.calls.Load())
				}
			})
		})
	}
}

// TestACacheServiceThatIsDownIsLeftAlone but for one read a second, which finds out when it is back.
func TestACacheServiceThatIsDownIsLeftAlone(t *testing.T) {
	for name, answer := range map[string]func(context.Context, string) error{"away": always(errUnsent), "frozen": frozen} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, cache, store := newLinks(t, answer)
				call := func(method string) {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					if err := f.Invoke(ctx, method, nil, nil); err != nil {
						t.Error(err)
					}
				}
				for range cacheFailures {
					call(aRead)
				}
				before := cache.calls.Load()
				for range 100 {
					call(aRead)
					call(aChange)
				}
				if asked := cache.calls.Load() - before; asked != 0 {
					t.Errorf("the cache service was asked %d times", asked)
				}
				time.Sleep(cacheRest + time.Millisecond)
				for range 10 {
					call(aChange)
				}
				call(aRead)
				call(aRead)
				if asked := cache.calls.Load() - before; asked != 1 {
					t.Errorf("the cache service was asked %d times after a rest", asked)
				}
				cache.answer = fine
				time.Sleep(cacheRest + time.Millisecond)
				call(aRead)
				asked, past := cache.calls.Load(), store.calls.Load()
				call(aRead)
				call(aChange)
				if cache.calls.Load() != asked+2 || store.calls.Load() != past {
					t.Error("a cache service that is back is not asked")
				}
			})
		})
	}
}

// TestWhoGoesAwayTellsNothingOfTheCacheService.
func TestWhoGoesAwayTellsNothingOfTheCacheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, cache, store := newLinks(t, frozen)
		for range 2 * cacheFailures {
			ctx, cancel := context.WithTimeout(t.Context(), cachePatience/2)
			if err := f.Invoke(ctx, aRead, nil, nil); status.Code(err) != codes.DeadlineExceeded {
				t.Error(err)
			}
			cancel()
		}
		cache.answer = fine
		if err := f.Invoke(t.Context(), aRead, nil, nil); err != nil || store.calls.Load() != 0 {
			t.Errorf("error is %v, and the store was asked %d times", err, store.calls.Load())
		}
	})
}

// TestTheGatewayServesWithoutACacheService over both transports, and says that it is ready.
func TestTheGatewayServesWithoutACacheService(t *testing.T) {
	u := newUpstream(t)
	h := newHouse(t, away(t), u.serve(t))
	token := "Authorization: Bearer " + u.token(t)
	h.get(t, "/v1/users/me", token).wantOK(t)
	h.post(t, "/v1/users", fmt.Sprintf(`{"email":"ada@example.com","fullName":"Ada","password":%q}`, secret)).wantOK(t)
	ready := h.get(t, "/readyz")
	ready.wantOK(t)
	for _, part := range []string{
		`"gatehouse.cache":"NOT_SERVING"`, `"gatehouse.cache.feed":"NOT_SERVING"`, `"gatehouse.store":"SERVING"`,
	} {
		if !strings.Contains(ready.text, part) {
			t.Errorf("readyz lacks %s: %s", part, ready.text)
		}
	}
}
