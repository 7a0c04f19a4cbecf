package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/redact"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

const (
	issuer   = "https://id.example.com"
	audience = "gatehouse"
	userID   = "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21"
	// secret is a password. No answer and no log line of the gateway may contain it.
	secret = "hunter2-9f3c"
)

// credential is what the gateway presents.
var credential = authn.ServiceCredential{Role: authn.PeerGateway, Token: strings.Repeat("s", authn.MinServiceToken)}

// logBuffer stores the log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(part []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(part)
}

// testEnv is a gateway that runs on real listeners.
type testEnv struct {
	service *Service
	base    string // of REST
	client  *http.Client
	conn    *grpc.ClientConn // to native gRPC, without any interceptor of ours
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error // of Run; to be read once ended is closed
	log     *logBuffer
}

func newTestEnv(t testing.TB, cache, store grpc.ClientConnInterface, prepare ...func(*Service)) *testEnv {
	t.Helper()
	return newConfiguredEnv(t, Config{Issuer: issuer, Audience: audience}, cache, store, prepare...)
}

// newConfiguredEnv runs a gateway until the test ends. The functions may change it before it runs.
func newConfiguredEnv(
	t testing.TB, config Config, cache, store grpc.ClientConnInterface, prepare ...func(*Service),
) *testEnv {
	t.Helper()
	env := &testEnv{log: &logBuffer{}, ended: make(chan struct{})}
	log := slog.New(callctx.NewLogHandler(slog.NewJSONHandler(env.log,
		&slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: redact.Attr})))
	var err error
	env.service, err = New(t.Context(), config, Upstreams{Cache: cache, Store: store}, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range prepare {
		change(env.service)
	}
	rest, native := listen(t), listen(t)
	env.base = "http://" + rest.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	env.cancel = cancel
	go func() {
		defer close(env.ended)
		env.err = env.service.Run(ctx, rest, native)
	}()
	env.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	env.conn, err = grpc.NewClient(native.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		env.stop(t)
		if err := env.conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return env
}

// newServedEnv is a gateway before one upstream that is there.
func newServedEnv(t testing.TB) (*testEnv, *fakeUpstream) {
	t.Helper()
	u := newUpstream(t)
	conn := u.serve(t)
	return newTestEnv(t, conn, conn), u
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// stop ends the gateway and gives its log, which is complete then.
func (env *testEnv) stop(t testing.TB) string {
	t.Helper()
	env.client.CloseIdleConnections()
	env.cancel()
	<-env.ended
	if env.err != nil {
		t.Error(env.err)
	}
	env.log.mu.Lock()
	defer env.log.mu.Unlock()
	return env.log.text.String()
}

// answer is what a REST call gave.
type answer struct {
	*http.Response

	text string
}

// call makes a REST call. Header values are given as "Name: value".
func (env *testEnv) call(t testing.TB, method, path string, body io.Reader, headers ...string) *answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, env.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Add(name, value)
	}
	response, err := env.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{response, string(text)}
}

// post sends JSON.
func (env *testEnv) post(t testing.TB, path, body string, headers ...string) *answer {
	t.Helper()
	return env.call(t, http.MethodPost, path, strings.NewReader(body), append(headers, "Content-Type: application/json")...)
}

func (env *testEnv) get(t testing.TB, path string, headers ...string) *answer {
	t.Helper()
	return env.call(t, http.MethodGet, path, http.NoBody, headers...)
}

// failure is a google.rpc.Status in JSON.
type failure struct {
	Code    int
	Message string
	Details []struct {
		Type            string `json:"@type"`
		Reason          string
		Domain          string
		RetryDelay      string
		FieldViolations []struct{ Field, Description string }
	}
}

// fields names the fields at fault, with what is wrong with each.
func (f failure) fields() map[string]string {
	named := map[string]string{}
	for _, detail := range f.Details {
		for _, violation := range detail.FieldViolations {
			named[violation.Field] = violation.Description
		}
	}
	return named
}

// wantFailure fails the test unless the answer is this HTTP status and reason, in the form that every error has.
func (a *answer) wantFailure(t testing.TB, status int, reason string) failure {
	t.Helper()
	var failed failure
	if err := json.Unmarshal([]byte(a.text), &failed); err != nil {
		t.Fatalf("%d with %q: %v", a.StatusCode, a.text, err)
	}
	if len(failed.Details) == 0 || failed.Details[0].Domain != "gatehouse" || failed.Code == 0 || failed.Message == "" {
		t.Fatalf("the answer is no google.rpc.Status of ours: %s", a.text)
	}
	if a.StatusCode != status || failed.Details[0].Reason != reason {
		t.Errorf("answer is %d %s, want %d %s", a.StatusCode, failed.Details[0].Reason, status, reason)
	}
	a.wantHeader(t, "Content-Type", "application/json")
	a.wantHeader(t, "Cache-Control", "no-store")
	a.wantHeader(t, "X-Content-Type-Options", "nosniff")
	if a.Header.Get("X-Request-Id") == "" {
		t.Error("the answer has no request id")
	}
	return failed
}

func (a *answer) wantHeader(t testing.TB, name, want string) {
	t.Helper()
	if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func (a *answer) wantOK(t testing.TB) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Errorf("answer is %d: %s", a.StatusCode, a.text)
	}
}

// panicking is an upstream connection with a defect.
type panicking struct{ grpc.ClientConnInterface }

func (panicking) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	panic("the panic's own words")
}

// stubConn is a connection to a service that answers calls with an error, which may be nil, and serves.
type stubConn struct{ err error }

func (c stubConn) Invoke(_ context.Context, _ string, _, reply any, options ...grpc.CallOption) error {
	if health, ok := reply.(*healthpb.HealthCheckResponse); ok {
		health.Status = healthpb.HealthCheckResponse_SERVING
		return nil
	}
	for _, option := range options {
		if at, ok := option.(grpc.PeerCallOption); ok {
			at.PeerAddr.Addr = stubAddr{}
		}
	}
	return c.err
}

func (stubConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("there are no streams")
}

type stubAddr struct{}

func (stubAddr) Network() string { return "test" }

func (stubAddr) String() string { return "test" }

// raw calls a gRPC method with any bytes at all.
func (env *testEnv) raw(ctx context.Context, method string, request []byte, options ...grpc.CallOption) ([]byte, error) {
	var response edge.Frame
	message := edge.Frame(request)
	err := env.conn.Invoke(ctx, method, &message, &response, append(options, grpc.ForceCodecV2(edge.FrameCodec{}))...)
	return response, err
}

func marshal(t testing.TB, message proto.Message) []byte {
	t.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

var errTest = errors.New("an error of the test")
