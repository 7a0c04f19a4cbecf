package gateway

import (
	"context"
	"crypto/ed25519"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
)

// fakeUpstream is the cache and the store. Its answers can be set before the first call.
type fakeUpstream struct {
	gatehousev1.UnimplementedUserServiceServer
	gatehousev1.UnimplementedSessionServiceServer
	gatehousev1.UnimplementedKeyServiceServer
	gatehousev1.UnimplementedAdminServiceServer

	createUser  func(context.Context, *gatehousev1.CreateUserRequest) error
	updateUser  func(context.Context, *gatehousev1.UpdateUserRequest) error
	listKeys    func() error
	fullName    string // of the user that ReadUser returns
	private     ed25519.PrivateKey
	public      *gatehousev1.Key
	health      *grpchealth.Server
	readSession atomic.Pointer[error]                // that ReadSession fails with; nil for none
	settings    atomic.Pointer[authn.IssuerSettings] // reported beside the keys; nil for none

	mu   sync.Mutex
	seen metadata.MD // of the last call
}

func newUpstream(t testing.TB) *fakeUpstream {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.FromPublic(public)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeUpstream{
		private: private, public: key, health: grpchealth.NewServer(),
		createUser: func(context.Context, *gatehousev1.CreateUserRequest) error { return nil },
		updateUser: func(context.Context, *gatehousev1.UpdateUserRequest) error { return nil },
		listKeys:   func() error { return nil },
	}
}

func (u *fakeUpstream) remember(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen, _ = metadata.FromIncomingContext(ctx)
}

func (u *fakeUpstream) lastSeen() metadata.MD {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen
}

func (u *fakeUpstream) CreateUser(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	u.remember(ctx)
	if err := u.createUser(ctx, req); err != nil {
		return nil, err
	}
	return &gatehousev1.CreateUserResponse{User: &gatehousev1.User{Id: userID, FullName: req.GetFullName()[:min(200, len(req.GetFullName()))]}}, nil
}

func (u *fakeUpstream) ReadUser(
	ctx context.Context, req *gatehousev1.ReadUserRequest,
) (*gatehousev1.ReadUserResponse, error) {
	u.remember(ctx)
	return &gatehousev1.ReadUserResponse{User: &gatehousev1.User{Id: req.GetId(), FullName: u.fullName}}, nil
}

func (u *fakeUpstream) UpdateUser(
	ctx context.Context, req *gatehousev1.UpdateUserRequest,
) (*gatehousev1.UpdateUserResponse, error) {
	u.remember(ctx)
	if err := u.updateUser(ctx, req); err != nil {
		return nil, err
	}
	return &gatehousev1.UpdateUserResponse{
		User: &gatehousev1.User{Id: req.GetUser().GetId(), FullName: u.fullName, Version: 8},
	}, nil
}

func (u *fakeUpstream) CreateSession(
	ctx context.Context, _ *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	u.remember(ctx)
	return &gatehousev1.CreateSessionResponse{TokenType: "Bearer"}, nil
}

// ReadSession returns an active session for any token.
func (u *fakeUpstream) ReadSession(
	context.Context, *gatehousev1.ReadSessionRequest,
) (*gatehousev1.ReadSessionResponse, error) {
	if refusal := u.readSession.Load(); refusal != nil {
		return nil, apierr.Status(*refusal).Err()
	}
	return &gatehousev1.ReadSessionResponse{Active: true, Sub: userID, TokenType: "Bearer"}, nil
}

func (u *fakeUpstream) ListKeys(ctx context.Context, _ *gatehousev1.ListKeysRequest) (*gatehousev1.ListKeysResponse, error) {
	if err := u.listKeys(); err != nil {
		return nil, err
	}
	if settings := u.settings.Load(); settings != nil {
		if err := grpc.SetHeader(ctx, settings.Metadata()); err != nil {
			return nil, err
		}
	}
	return &gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{u.public}}, nil
}

// serve serves the upstream in this process, and gives a connection to it such as the gateway has.
func (u *fakeUpstream) serve(t testing.TB) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(256 << 10)
	server := grpc.NewServer(grpcx.Limits()...)
	gatehousev1.RegisterUserServiceServer(server, u)
	gatehousev1.RegisterSessionServiceServer(server, u)
	gatehousev1.RegisterKeyServiceServer(server, u)
	gatehousev1.RegisterAdminServiceServer(server, u)
	healthpb.RegisterHealthServer(server, u.health)
	for service := range server.GetServiceInfo() {
		u.health.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpcx.Dial("passthrough:///in-process", credential, grpcx.InProcess(listener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// unreachable returns a connection to an upstream that cannot be reached.
func unreachable(t testing.TB) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := grpcx.Dial("passthrough:///in-process", credential, grpcx.InProcess(listener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// token makes a good access token of somebody who has just logged in.
func (u *fakeUpstream) token(t testing.TB, roles ...string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, authn.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: userID,
			IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		SessionID: "01970e2c-7a10-7b5e-8c43-0d6f1a9e2b54", Roles: roles, AuthTime: jwt.NewNumericDate(time.Now()),
	})
	token.Header["typ"], token.Header["kid"] = authn.TokenType, u.public.GetKid()
	signed, err := token.SignedString(u.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
