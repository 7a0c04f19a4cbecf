package cache_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

const (
	issuer   = "https://gatehouse.test"
	audience = "gatehouse.test"
	password = "correct horse battery staple"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStore is a store in memory. It counts reads and tells what it was asked.
type fakeStore struct {
	gatehousev1.UnsafeUserServiceServer
	gatehousev1.UnsafeSessionServiceServer
	gatehousev1.UnsafeKeyServiceServer

	private ed25519.PrivateKey
	public  *gatehousev1.Key

	mu     sync.Mutex
	users  map[string]*gatehousev1.User
	reads  int
	asked  []string                                      // the ids of the reads
	onRead func(ctx context.Context, token string) error // runs in each read, before it answers
}

func newFakeStore(t *testing.T) *fakeStore {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.FromPublic(public)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeStore{private: private, public: key, users: map[string]*gatehousev1.User{}}
}

func (s *fakeStore) ListKeys(
	context.Context, *gatehousev1.ListKeysRequest,
) (*gatehousev1.ListKeysResponse, error) {
	return &gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{s.public}}, nil
}

func (s *fakeStore) CreateUser(
	_ context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, user := range s.users {
		if user.GetEmail() == req.GetEmail() {
			return nil, apierr.EmailTaken()
		}
	}
	user := &gatehousev1.User{
		Id: uuid.Must(uuid.NewV7()).String(), Email: req.GetEmail(), FullName: req.GetFullName(), Version: 1,
	}
	s.users[user.GetId()] = user
	return &gatehousev1.CreateUserResponse{User: proto.CloneOf(user)}, nil
}

func (s *fakeStore) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	s.mu.Lock()
	s.reads++
	s.asked = append(s.asked, req.GetId())
	onRead := s.onRead
	s.mu.Unlock()
	if onRead != nil {
		var token string
		if values := metadata.ValueFromIncomingContext(ctx, authn.AuthorizationKey); len(values) == 1 {
			token = values[0]
		}
		if err := onRead(ctx, token); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.users[req.GetId()]
	if !ok {
		return nil, apierr.UserNotFound()
	}
	return &gatehousev1.ReadUserResponse{User: proto.CloneOf(user)}, nil
}

func (s *fakeStore) CreateSession(
	_ context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, user := range s.users {
		if user.GetEmail() == req.GetEmail() && req.GetPassword() == password {
			return &gatehousev1.CreateSessionResponse{
				AccessToken: s.token(user.GetId()), TokenType: "Bearer", ExpiresIn: 900, SessionId: uuid.NewString(),
			}, nil
		}
	}
	return nil, apierr.InvalidCredentials()
}

// put adds a user without the cache's knowing, and gives the id.
func (s *fakeStore) put(email string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := uuid.Must(uuid.NewV7()).String()
	s.users[id] = &gatehousev1.User{Id: id, Email: email, FullName: "Ada Lovelace", Version: 1}
	return id
}

func (s *fakeStore) user(id string) *gatehousev1.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return proto.CloneOf(s.users[id])
}

func (s *fakeStore) readCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *fakeStore) hook(onRead func(ctx context.Context, token string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onRead = onRead
}

// token issues an access token, each time another one.
func (s *fakeStore) token(userID string) string {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, authn.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: userID, Audience: jwt.ClaimStrings{audience}, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(15 * time.Minute)),
		},
		SessionID: uuid.NewString(),
	})
	token.Header["kid"], token.Header["typ"] = s.public.GetKid(), authn.TokenType
	signed, err := token.SignedString(s.private)
	if err != nil {
		panic(err)
	}
	return signed
}

// house is a cache service between a client and a fake store.
type house struct {
	store    *fakeStore
	users    gatehousev1.UserServiceClient
	sessions gatehousev1.SessionServiceClient
	conn     *grpc.ClientConn
	service  *cache.Service
	logged   *logBuffer
}

func config(redisURL string) cache.Config {
	return cache.Config{Backend: cache.BackendRedis, RedisURL: redisURL, Issuer: issuer, Audience: audience}
}

func newHouse(t *testing.T, cfg cache.Config) *house {
	t.Helper()
	return openHouse(t, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.New(cfg, store, log)
	})
}

// newCountingHouse gives a house on a memory backend, and how often that is asked for an entry. Nothing times out there
// and no breaker opens, however busy the machine is.
func newCountingHouse(t *testing.T) (*house, *atomic.Int64) {
	t.Helper()
	gets := new(atomic.Int64)
	return openHouse(t, func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error) {
		return cache.NewCounting(config(""), store, log, gets)
	}), gets
}

func openHouse(
	t *testing.T, open func(store grpc.ClientConnInterface, log *slog.Logger) (*cache.Service, error),
) *house {
	t.Helper()
	h := &house{store: newFakeStore(t), logged: new(logBuffer)}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	gatehousev1.RegisterUserServiceServer(server, h.store)
	gatehousev1.RegisterSessionServiceServer(server, h.store)
	gatehousev1.RegisterKeyServiceServer(server, h.store)
	serve(t, func(ctx context.Context) error {
		return grpcx.ServeUntil(ctx, server, listener, func() {})
	})
	storeConn, err := grpcx.Dial("passthrough:///in-process", grpcx.InProcess(listener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = storeConn.Close() })

	log := slog.New(slog.NewJSONHandler(h.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.service, err = open(storeConn, log)
	if err != nil {
		t.Fatal(err)
	}
	front := bufconn.Listen(1 << 20)
	serve(t, func(ctx context.Context) error { return h.service.Run(ctx, front) })
	h.conn = dial(t, front)
	h.users, h.sessions = gatehousev1.NewUserServiceClient(h.conn), gatehousev1.NewSessionServiceClient(h.conn)
	return h
}

// serve runs a server until the test ends, and fails the test if it ends otherwise than it was told to.
func serve(t *testing.T, run func(context.Context) error) {
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

// dial connects without grpcx.Dial, because a client from outside says what it likes in its metadata.
func dial(t *testing.T, listener *bufconn.Listener) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///in-process",
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

// read reads a user's own profile and insists on the right answer.
func (h *house) read(t *testing.T, id string) {
	t.Helper()
	response, err := h.users.ReadUser(as(t.Context(), h.store.token(id)), &gatehousev1.ReadUserRequest{Id: authn.Me})
	if err != nil {
		t.Fatalf("read user %s: %v", id, err)
	}
	if want := h.store.user(id); !proto.Equal(response.GetUser(), want) {
		t.Fatalf("read user %s: %v, want %v", id, response.GetUser(), want)
	}
}

// wantReads insists on how many reads the store has served.
func (h *house) wantReads(t *testing.T, want int) {
	t.Helper()
	if got := h.store.readCount(); got != want {
		t.Fatalf("the store has served %d reads, want %d", got, want)
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

// eventually polls until the condition holds and fails the test if it does not within a deadline.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(15 * time.Second)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("it never came about that %s", what)
		}
	}
}
