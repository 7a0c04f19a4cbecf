package grpcx_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
)

const (
	issuer   = "https://id.example.com"
	audience = "gatehouse"
	userID   = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"
	// secret represents a password. Nothing that a server answers or logs may ever hold it.
	secret = "hunter2-9f3c"
)

// service responds as a test sets it.
type service struct {
	gatehousev1.UnimplementedUserServiceServer

	create func(context.Context, *gatehousev1.CreateUserRequest) error
	mu     sync.Mutex
	calls  int
	seen   metadata.MD
	caller authn.Caller
}

func (s *service) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	s.enter(ctx)
	return &gatehousev1.CreateUserResponse{}, s.create(ctx, req)
}

func (s *service) ReadUser(ctx context.Context, _ *gatehousev1.ReadUserRequest) (*gatehousev1.ReadUserResponse, error) {
	s.enter(ctx)
	return &gatehousev1.ReadUserResponse{}, nil
}

func (s *service) enter(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.seen, _ = metadata.FromIncomingContext(ctx)
	s.caller, _ = authn.CallerFrom(ctx)
}

// testEnv is a server in this process, with a connection as services have it.
type testEnv struct {
	service  *service
	private  ed25519.PrivateKey
	public   *gatehousev1.Key
	conn     *grpc.ClientConn
	listener *bufconn.Listener
	users    gatehousev1.UserServiceClient
	server   *grpcx.Server
	ctx      context.Context //nolint:containedctx // of the server
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error // of Serve; to be read once ended is closed
	log      bytes.Buffer
	logMu    sync.Mutex
}

func (h *testEnv) Write(part []byte) (int, error) {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.Write(part)
}

func newTestEnv(t *testing.T) *testEnv {
	t.Helper()
	h := &testEnv{
		ended:   make(chan struct{}),
		service: &service{create: func(context.Context, *gatehousev1.CreateUserRequest) error { return nil }},
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	h.private = private
	if h.public, err = jwk.FromPublic(public); err != nil {
		t.Fatal(err)
	}
	policies, err := authn.LoadPolicies(gatehousev1.UserService_ServiceDesc.ServiceName)
	if err != nil {
		t.Fatal(err)
	}
	keys := authn.NewKeySet(func(context.Context) (*gatehousev1.ListKeysResponse, error) {
		return &gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{h.public}}, nil
	}, time.Now)
	log := slog.New(callctx.NewLogHandler(slog.NewJSONHandler(h, &slog.HandlerOptions{Level: slog.LevelDebug})))
	authenticator := authn.NewAuthenticator(policies, authn.NewVerifier(keys, issuer, audience, time.Now), nil)
	authenticator.AdmitServices(serviceToken)
	server, err := grpcx.NewServer(log, authenticator, func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	gatehousev1.RegisterUserServiceServer(server, h.service)
	listener := bufconn.Listen(256 << 10)
	ctx, cancel := context.WithCancel(context.Background())
	h.ctx, h.cancel, h.server = ctx, cancel, server
	go func() {
		defer close(h.ended)
		h.err = server.Serve(ctx, listener)
	}()
	h.listener = listener
	h.conn, err = grpcx.Dial("passthrough:///in-process", asGateway, grpcx.InProcess(listener))
	if err != nil {
		t.Fatal(err)
	}
	h.users = gatehousev1.NewUserServiceClient(h.conn)
	t.Cleanup(func() {
		h.stop(t)
		if err := h.conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// serve serves on another listener, too.
func (h *testEnv) serve(t *testing.T, listener net.Listener) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- h.server.Serve(h.ctx, listener) }()
	t.Cleanup(func() {
		h.cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// stop ends the server and gives its log, which is complete then.
func (h *testEnv) stop(t *testing.T) string {
	t.Helper()
	h.cancel()
	<-h.ended
	if h.err != nil {
		t.Error(h.err)
	}
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.String()
}

// as returns the context in which a service calls on behalf of the client that sent these authorization headers.
func as(t *testing.T, authorization ...string) context.Context {
	t.Helper()
	return metadata.NewIncomingContext(t.Context(), metadata.MD{authn.AuthorizationKey: authorization})
}

func (h *testEnv) bearer(t *testing.T) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, authn.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: userID,
			IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		SessionID: "01970e2c-7a10-7b5e-8c43-0d6f1a9e2b54",
	})
	token.Header["typ"], token.Header["kid"] = authn.TokenType, h.public.GetKid()
	signed, err := token.SignedString(h.private)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + signed
}

func wantStatus(t *testing.T, err error, code codes.Code, reason string) *status.Status {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code || apierr.ReasonName(apierr.ReasonOf(st)) != reason {
		t.Errorf("status is %v %v (%v), want %v %s", st.Code(), apierr.ReasonOf(st), st.Message(), code, reason)
	}
	return st
}

func newUser() *gatehousev1.CreateUserRequest {
	return &gatehousev1.CreateUserRequest{Email: "ada@example.com", FullName: "Ada Lovelace", Password: secret}
}
