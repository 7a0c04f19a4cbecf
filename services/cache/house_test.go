package cache_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

const (
	issuer   = "https://gatehouse.test"
	audience = "gatehouse.test"
	password = "correct horse battery staple"
)

const (
	roleRequired   = gatehousev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED
	userNotFound   = gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND
	sessionEnded   = gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED
	sessionExpired = gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED
	tokenReused    = gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_REUSED
	unavailable    = gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// front is a cache service, and clients of it.
type front struct {
	users    gatehousev1.UserServiceClient
	sessions gatehousev1.SessionServiceClient
	admins   gatehousev1.AdminServiceClient
	conn     *grpc.ClientConn
	logged   *logBuffer
}

// house is cache services between clients and a fake store. What it does itself it does by the first.
type house struct {
	*front

	store  *fakeStore
	feed   *fakeFeed
	admin  string // a token of an admin
	others []*front
	own    map[string]string // a token of each user, by user id

	storeListener *bufconn.Listener
	config        cache.Config
}

// serviceToken is what the services of these tests know each other by.
var serviceToken = strings.Repeat("s", authn.MinServiceToken)

func config(redisURL string) cache.Config {
	return cache.Config{
		Backend: cache.BackendRedis, RedisURL: redisURL, Key: bytes.Repeat([]byte("c"), cache.KeySize),
		ServiceToken: serviceToken, Issuer: issuer, Audience: audience,
	}
}

func newHouse(t *testing.T, cfg cache.Config) *house {
	t.Helper()
	return newTown(t, cfg, 1)
}

// newTown gives a house of several cache services.
func newTown(t *testing.T, cfg cache.Config, fronts int) *house {
	t.Helper()
	h := openHouse(t, fronts, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.New(cfg, store, log)
	})
	h.config = cfg
	for _, f := range h.others {
		f.wantFollowing(t)
	}
	return h
}

// newCountingHouse gives a house on a memory backend, and how often that is asked for entries. Nothing times out there
// and no breaker opens, however busy the machine is.
func newCountingHouse(t *testing.T) (*house, *atomic.Int64) {
	t.Helper()
	gets := new(atomic.Int64)
	h := openHouse(t, 1, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.NewCounting(config(""), store, log, gets)
	})
	h.wantFollowing(t)
	gets.Store(0)
	return h, gets
}

func openHouse(
	t *testing.T, fronts int, open func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error),
) *house {
	t.Helper()
	h := &house{store: newFakeStore(t), feed: newFakeFeed(), own: map[string]string{}}
	h.admin = h.store.token(h.store.putAdmin("root@example.com"))
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.UnaryInterceptor(tell))
	internalv1.RegisterChangeServiceServer(server, h.feed)
	gatehousev1.RegisterUserServiceServer(server, h.store)
	gatehousev1.RegisterSessionServiceServer(server, h.store)
	gatehousev1.RegisterKeyServiceServer(server, h.store)
	gatehousev1.RegisterAdminServiceServer(server, h.store)
	run(t, func(ctx context.Context) error {
		return grpcx.ServeUntil(ctx, server, listener, func() {})
	})
	h.storeListener = listener
	for range fronts {
		h.others = append(h.others, h.newFront(t, open))
	}
	h.front = h.others[0]
	return h
}

// tell gives errors the form that they have from the store.
func tell(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	response, err := handle(ctx, req)
	if err != nil {
		return nil, apierr.Status(err).Err()
	}
	return response, nil
}

// join gives another cache service, after something has happened, which follows the feed.
func (h *house) join(t *testing.T, cfg cache.Config, after func()) *front {
	t.Helper()
	after()
	f := h.newFront(t, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.New(cfg, store, log)
	})
	f.wantFollowing(t)
	return f
}

func (h *house) newFront(
	t *testing.T, open func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error),
) *front {
	t.Helper()
	store, err := grpcx.Dial("passthrough:///in-process",
		authn.ServiceCredential{Role: authn.PeerCache, Token: serviceToken}, grpcx.InProcess(h.storeListener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f := &front{logged: new(logBuffer)}
	log := slog.New(slog.NewJSONHandler(f.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	service, err := open(store, log)
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	run(t, func(ctx context.Context) error { return service.Run(ctx, listener) })
	f.conn = dial(t, listener)
	f.users, f.sessions = gatehousev1.NewUserServiceClient(f.conn), gatehousev1.NewSessionServiceClient(f.conn)
	f.admins = gatehousev1.NewAdminServiceClient(f.conn)
	return f
}

// wantFollowing waits until it is known here that nothing is missing in the cache.
func (f *front) wantFollowing(t *testing.T) {
	t.Helper()
	health := healthpb.NewHealthClient(f.conn)
	testkit.Eventually(t, func() error {
		response, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: cache.FeedHealth})
		if err == nil && response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			err = errors.New("the changes of the store are not followed")
		}
		return err
	})
}

// run runs a server until the test ends, and fails the test if it ends otherwise than it was told to.
func run(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("a server ended with %v", err)
		}
	})
}

// dial connects as a gateway, but without grpcx.Dial, so that a test says what it likes in its metadata.
func dial(t *testing.T, listener *bufconn.Listener) *grpc.ClientConn {
	t.Helper()
	credential := authn.ServiceCredential{Role: authn.PeerGateway, Token: serviceToken}
	conn, err := grpc.NewClient("passthrough:///in-process",
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
			invoke grpc.UnaryInvoker, options ...grpc.CallOption,
		) error {
			ctx = metadata.AppendToOutgoingContext(ctx, credential.Metadata()...)
			return invoke(ctx, method, req, reply, conn, options...)
		}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// as gives a context for calls with a token.
func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, authn.AuthorizationKey, "Bearer "+token)
}

// me reads the profile of whom the token is of.
func (f *front) me(ctx context.Context, token string) (*gatehousev1.User, error) {
	response, err := f.users.ReadUser(as(ctx, token), &gatehousev1.ReadUserRequest{Id: authn.Me})
	return response.GetUser(), err
}

// wantIn insists that the session of the token is let in, and that nothing old is shown.
func (f *front) wantIn(t *testing.T, s *fakeStore, token string) {
	t.Helper()
	session := s.session(token)
	user, err := f.me(t.Context(), token)
	if want := s.profile(token); err != nil || !proto.Equal(user, want) {
		t.Fatalf("read: %v, error %v, want %v", user, err, want)
	}
	response, err := f.sessions.ReadSession(as(t.Context(), token), &gatehousev1.ReadSessionRequest{Id: authn.Current})
	session.Current = true
	session = authn.ShowSession(t.Context(), session)
	if err != nil || !proto.Equal(response.GetSession(), session) {
		t.Fatalf("introspect: %v, error %v, want %v", response.GetSession(), err, session)
	}
}

// wantOut insists that the session of the token is refused.
func (f *front) wantOut(t *testing.T, token string, reason gatehousev1.ErrorReason) {
	t.Helper()
	_, err := f.me(t.Context(), token)
	wantError(t, err, codes.Unauthenticated, reason)
}

// wantOut insists that all cache services refuse the token.
func (h *house) wantOut(t *testing.T, token string, reason gatehousev1.ErrorReason) {
	t.Helper()
	for _, f := range h.others {
		f.wantOut(t, token, reason)
	}
}

// read reads a user's own profile, in a session that is always the same, and insists on the right answer.
func (h *house) read(t *testing.T, id string) {
	t.Helper()
	if h.own[id] == "" {
		h.own[id] = h.store.token(id)
	}
	user, err := h.me(t.Context(), h.own[id])
	if want := h.store.profile(h.own[id]); err != nil || !proto.Equal(user, want) {
		t.Fatalf("read user %s: %v, error %v, want %v", id, user, err, want)
	}
}

// wantReads insists on how many reads the store has served.
func (h *house) wantReads(t *testing.T, want int) {
	t.Helper()
	if got := h.store.readCount(); got != want {
		t.Fatalf("the store has served %d reads, want %d", got, want)
	}
}

func wantError(t *testing.T, err error, code codes.Code, reason gatehousev1.ErrorReason) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code || apierr.ReasonOf(st) != reason {
		t.Errorf("error %v, want %s with %s", err, code, reason)
	}
}

// logBuffer is a log that may be written and read at the same time.
type logBuffer struct {
	mu    sync.Mutex
	bytes []byte
}

func (l *logBuffer) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes = append(l.bytes, line...)
	return len(line), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.bytes)
}
