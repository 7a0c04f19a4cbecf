package cache_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
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

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // Tests mostly wait.
	goleak.VerifyTestMain(m)
}

// replica is a cache service with clients.
type replica struct {
	users    gatehousev1.UserServiceClient
	sessions gatehousev1.SessionServiceClient
	admins   gatehousev1.AdminServiceClient
	conn     *grpc.ClientConn
	logged   *logBuffer
}

// testEnv is a number of cache services before a fake store. Its own calls use the first one.
type testEnv struct {
	*replica

	store    *fakeStore
	feed     *fakeFeed
	admin    string // a token of an admin
	replicas []*replica
	tokens   map[string]string // a token of each user, by user id

	storeListener *bufconn.Listener
	config        cache.Config
}

// serviceToken is the token of all services in these tests.
var serviceToken = strings.Repeat("s", authn.MinServiceToken)

func config(redisURL string) cache.Config {
	return cache.Config{
		Backend: cache.BackendRedis, RedisURL: redisURL, Key: bytes.Repeat([]byte("c"), cache.KeySize),
		ServiceToken: serviceToken, Issuer: issuer, Audience: audience,
	}
}

func newTestEnv(t *testing.T, cfg cache.Config) *testEnv {
	t.Helper()
	return newTestEnvOf(t, cfg, 1)
}

// newTestEnvOf returns an environment of several cache services.
func newTestEnvOf(t *testing.T, cfg cache.Config, replicas int) *testEnv {
	t.Helper()
	env := startTestEnv(t, replicas, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.New(cfg, store, log)
	})
	env.config = cfg
	for _, r := range env.replicas {
		r.wantFollowing(t)
	}
	return env
}

// newCountingEnv returns an environment with a memory backend, and the number of reads of that. It has no timeout and
// no breaker, so that it does not depend on the load of the machine.
func newCountingEnv(t *testing.T) (*testEnv, *atomic.Int64) {
	t.Helper()
	gets := new(atomic.Int64)
	env := startTestEnv(t, 1, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.NewCounting(config(""), store, log, gets)
	})
	env.wantFollowing(t)
	gets.Store(0)
	return env, gets
}

func startTestEnv(
	t *testing.T, fronts int, open func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error),
) *testEnv {
	t.Helper()
	env := &testEnv{store: newFakeStore(t), feed: newFakeFeed(), tokens: map[string]string{}}
	env.admin = env.store.token(env.store.putAdmin("root@example.com"))
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.UnaryInterceptor(withStatus))
	internalv1.RegisterChangeServiceServer(server, env.feed)
	gatehousev1.RegisterUserServiceServer(server, env.store)
	gatehousev1.RegisterSessionServiceServer(server, env.store)
	gatehousev1.RegisterKeyServiceServer(server, env.store)
	gatehousev1.RegisterAdminServiceServer(server, env.store)
	run(t, func(ctx context.Context) error {
		return grpcx.ServeUntil(ctx, server, listener, func() {})
	})
	env.storeListener = listener
	for range fronts {
		env.replicas = append(env.replicas, env.startReplica(t, open))
	}
	env.replica = env.replicas[0]
	return env
}

// withStatus returns errors in the form that they have from the store.
func withStatus(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	response, err := handle(ctx, req)
	if err != nil {
		return nil, apierr.Status(err).Err()
	}
	return response, nil
}

// addReplica calls after, and adds a cache service that follows the feed.
func (env *testEnv) addReplica(t *testing.T, cfg cache.Config, after func()) *replica {
	t.Helper()
	after()
	r := env.startReplica(t, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.New(cfg, store, log)
	})
	r.wantFollowing(t)
	return r
}

func (env *testEnv) startReplica(
	t *testing.T, open func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error),
) *replica {
	t.Helper()
	store, err := grpcx.Dial("passthrough:///in-process",
		authn.ServiceCredential{Role: authn.PeerCache, Token: serviceToken}, grpcx.InProcess(env.storeListener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r := &replica{logged: new(logBuffer)}
	log := slog.New(slog.NewJSONHandler(r.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	service, err := open(store, log)
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	run(t, func(ctx context.Context) error { return service.Run(ctx, listener) })
	r.conn = dial(t, listener)
	r.users, r.sessions = gatehousev1.NewUserServiceClient(r.conn), gatehousev1.NewSessionServiceClient(r.conn)
	r.admins = gatehousev1.NewAdminServiceClient(r.conn)
	return r
}

// wantFollowing waits until the service follows the feed.
func (r *replica) wantFollowing(t *testing.T) {
	t.Helper()
	health := healthpb.NewHealthClient(r.conn)
	testkit.Eventually(t, func() error {
		response, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: cache.FeedHealth})
		if err == nil && response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			err = errors.New("the changes of the store are not followed")
		}
		return err
	})
}

// run runs a server until the test ends, and fails the test if it returns an error.
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

// dial connects as a gateway, but without grpcx.Dial, so that a test can set any metadata.
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

// as returns a context for calls with a token.
func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, authn.AuthorizationKey, "Bearer "+token)
}

// me reads the profile of the owner of the token.
func (r *replica) me(ctx context.Context, token string) (*gatehousev1.User, error) {
	response, err := r.users.ReadUser(as(ctx, token), &gatehousev1.ReadUserRequest{Id: authn.Me})
	return response.GetUser(), err
}

// wantIn fails unless the session of the token is valid, and the answers are current.
func (r *replica) wantIn(t *testing.T, s *fakeStore, token string) {
	t.Helper()
	session := s.session(token)
	user, err := r.me(t.Context(), token)
	if want := s.profile(token); err != nil || !proto.Equal(user, want) {
		t.Fatalf("read: %v, error %v, want %v", user, err, want)
	}
	response, err := r.sessions.ReadSession(as(t.Context(), token), &gatehousev1.ReadSessionRequest{Id: authn.Current})
	session.Current = true
	session = authn.ShowSession(t.Context(), session)
	if err != nil || !proto.Equal(response.GetSession(), session) {
		t.Fatalf("introspect: %v, error %v, want %v", response.GetSession(), err, session)
	}
}

// wantOut fails unless the session of the token is rejected.
func (r *replica) wantOut(t *testing.T, token string, reason gatehousev1.ErrorReason) {
	t.Helper()
	_, err := r.me(t.Context(), token)
	wantError(t, err, codes.Unauthenticated, reason)
}

// wantOut fails unless all cache services reject the token.
func (env *testEnv) wantOut(t *testing.T, token string, reason gatehousev1.ErrorReason) {
	t.Helper()
	for _, r := range env.replicas {
		r.wantOut(t, token, reason)
	}
}

// read reads a user's own profile, always in the same session, and fails unless the answer is current.
func (env *testEnv) read(t *testing.T, id string) {
	t.Helper()
	if env.tokens[id] == "" {
		env.tokens[id] = env.store.token(id)
	}
	user, err := env.me(t.Context(), env.tokens[id])
	if want := env.store.profile(env.tokens[id]); err != nil || !proto.Equal(user, want) {
		t.Fatalf("read user %s: %v, error %v, want %v", id, user, err, want)
	}
}

// wantReads fails unless the store has served this number of reads.
func (env *testEnv) wantReads(t *testing.T, want int) {
	t.Helper()
	if got := env.store.readCount(); got != want {
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

// logBuffer is a log that can be written and read concurrently.
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

func (env *testEnv) signUp(t *testing.T, email string) string {
	t.Helper()
	response, err := env.users.CreateUser(t.Context(),
		&gatehousev1.CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: password})
	if err != nil {
		t.Fatalf("sign up: %v", err)
	}
	if want := env.store.user(response.GetUser().GetId()); !proto.Equal(response.GetUser(), want) {
		t.Fatalf("sign up: %v, want %v", response.GetUser(), want)
	}
	return response.GetUser().GetId()
}

// logIn opens a session by this cache service.
func (r *replica) logIn(t *testing.T, email string) *gatehousev1.CreateSessionResponse {
	t.Helper()
	response, err := r.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: email, Password: password})
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	return response
}

// readUntilCached reads until the cache answers.
func (env *testEnv) readUntilCached(t *testing.T, id string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		before := env.store.readCount()
		env.read(t, id)
		if env.store.readCount() != before {
			return errors.New("the cache is not used again")
		}
		return nil
	})
}

// wantDeleted fails unless all sessions of the user are rejected, repeatedly.
func (fix *accountFixture) wantDeleted(t *testing.T) {
	t.Helper()
	for range 2 {
		for _, token := range []string{fix.phone.GetAccessToken(), fix.laptop.GetAccessToken()} {
			fix.wantOut(t, token, sessionEnded)
		}
		if fix.tablet != "" {
			fix.wantOut(t, fix.tablet, sessionEnded)
		}
	}
}
