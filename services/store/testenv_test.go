package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(stopServers(), goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// onEach runs a test on each kind of database, with an empty one.
func onEach(t *testing.T, test func(t *testing.T, database storeconfig.Database)) {
	t.Helper()
	for name, newDatabase := range databases() {
		t.Run(name, func(t *testing.T) { test(t, storeconfig.Database{URL: newDatabase(t)}) })
	}
}

// clock is a time that only the test makes pass.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.micros.Store(time.Now().UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()) }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// testStore is a store that runs in this process, and clients of it.
type testStore struct {
	users    gatehousev1.UserServiceClient
	sessions gatehousev1.SessionServiceClient
	keys     gatehousev1.KeyServiceClient
	admin    gatehousev1.AdminServiceClient
	changes  internalv1.ChangeServiceClient
	service  *Service
	listener *bufconn.Listener
	stop     context.CancelFunc
	log      *syncBuffer
}

type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(part []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(part)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// testOwnChanges is the default of the setting.
const testOwnChanges = 60

func testConfig(database storeconfig.Database, clock *clock) storeconfig.Config {
	return storeconfig.Config{
		Database: database, MasterKey: bytes.Repeat([]byte("m"), storeconfig.MasterKeySize),
		ServiceToken: strings.Repeat("s", authn.MinServiceToken), Issuer: "https://issuer.example.com",
		Audience: "audience", SigningAlgorithm: jwk.EdDSA, KeyRotationInterval: 30 * 24 * time.Hour, AccessTokenLifetime: 15 * time.Minute,
		Sessions: storeconfig.SessionConfig{
			RefreshGrace: 30 * time.Second, IdleLifetime: 30 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour,
		},
		Password: storeconfig.PasswordParams{MemoryKiB: 7168, Iterations: 1, Parallelism: 1},
		Now:      clock.now, OwnChangesPerMinute: testOwnChanges,
	}
}

// startStore migrates the database and serves it until the test ends.
func startStore(t *testing.T, config storeconfig.Config) *testStore {
	t.Helper()
	written := &syncBuffer{}
	log := slog.New(slog.NewTextHandler(written, nil))
	if err := operator.Migrate(t.Context(), config.Database, log); err != nil {
		t.Fatal(err)
	}
	service, err := New(t.Context(), config, log)
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(64 << 10)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx, listener) }()
	conn, err := grpcx.Dial("passthrough:///in-process",
		authn.ServiceCredential{Role: authn.PeerCache, Token: config.ServiceToken}, grpcx.InProcess(listener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := errors.Join(conn.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return &testStore{
		users: gatehousev1.NewUserServiceClient(conn), sessions: gatehousev1.NewSessionServiceClient(conn),
		keys: gatehousev1.NewKeyServiceClient(conn), admin: gatehousev1.NewAdminServiceClient(conn),
		changes: internalv1.NewChangeServiceClient(conn),
		service: service, listener: listener, stop: stop, log: written,
	}
}

const (
	adasEmail    = "ada@example.com"
	adasPassword = "correct horse battery staple"
)

func (s *testStore) signUp(t *testing.T) *gatehousev1.User {
	t.Helper()
	response, err := s.users.CreateUser(t.Context(),
		&gatehousev1.CreateUserRequest{Email: adasEmail, FullName: "Ada Lovelace", Password: adasPassword})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetUser()
}

func (s *testStore) logIn(t *testing.T) *gatehousev1.CreateSessionResponse {
	t.Helper()
	response, err := s.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: adasEmail, Password: adasPassword})
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// logInRoot makes an administrator, and logs in.
func (s *testStore) logInRoot(t *testing.T) *gatehousev1.CreateSessionResponse {
	t.Helper()
	return s.logInAs(t, s.addUser(t, "root@example.com", true))
}

// addUser adds a user to the database who has Ada's password.
func (s *testStore) addUser(t *testing.T, email string, admin bool) account.User {
	t.Helper()
	db := s.service.storage
	credential, err := db.ReadCredential(t.Context(), adasEmail)
	if err != nil {
		t.Fatal(err)
	}
	now := s.service.config.Now().UTC()
	user := account.User{
		ID: uuid.Must(uuid.NewV7()).String(), Email: email, FullName: "Somebody", CreateTime: now, UpdateTime: now,
		Version: 1, State: account.Active, Admin: admin,
	}
	if err := db.CreateUser(t.Context(), user, credential.PasswordHash); err != nil {
		t.Fatal(err)
	}
	return user
}

func (s *testStore) logInAs(t *testing.T, user account.User) *gatehousev1.CreateSessionResponse {
	t.Helper()
	response, err := s.sessions.CreateSession(t.Context(),
		&gatehousev1.CreateSessionRequest{Email: user.Email, Password: adasPassword})
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func (s *testStore) refresh(ctx context.Context, token string) (*gatehousev1.RefreshSessionResponse, error) {
	return s.sessions.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: token})
}

// as returns a context of calls with an access token. The tokens of incoming metadata are those that a service passes
// on.
func as(t *testing.T, accessToken string) context.Context {
	t.Helper()
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+accessToken))
}

// read reads the caller's own session.
func (s *testStore) read(t *testing.T, accessToken string) (*gatehousev1.ReadSessionResponse, error) {
	t.Helper()
	return s.sessions.ReadSession(as(t, accessToken), &gatehousev1.ReadSessionRequest{Id: "current"})
}

func wantReason(t *testing.T, err error, reason gatehousev1.ErrorReason) {
	t.Helper()
	if err := wantErrorReason(err, reason); err != nil {
		t.Error(err)
	}
}

func wantErrorReason(err error, reason gatehousev1.ErrorReason) error {
	if got := apierr.ReasonOf(status.Convert(err)); got != reason {
		return fmt.Errorf("want the reason %v, not %v of error %w", reason, got, err)
	}
	return nil
}
