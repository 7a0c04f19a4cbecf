package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// wantStatus fails the test unless err is this code and reason.
func wantStatus(t testing.TB, err error, code codes.Code, reason string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code || apierr.ReasonName(apierr.ReasonOf(st)) != reason {
		t.Errorf("status is %v %v (%v), want %v %s", st.Code(), apierr.ReasonOf(st), st.Message(), code, reason)
	}
}

func TestGRPCCall(t *testing.T) {
	env, u := newServedEnv(t)
	users := gatehousev1.NewUserServiceClient(env.conn)
	var header metadata.MD
	created, err := users.CreateUser(metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine"),
		&gatehousev1.CreateUserRequest{FullName: "Ada", Password: secret}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if created.GetUser().GetId() != userID || created.GetUser().GetFullName() != "Ada" {
		t.Errorf("answer is %v", created)
	}
	if !reflect.DeepEqual(header.Get("x-request-id"), []string{"mine"}) {
		t.Errorf("headers are %v", header)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+u.token(t))
	if _, err := users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"}); err != nil {
		t.Error(err)
	}
	_, err = users.ReadUser(t.Context(), &gatehousev1.ReadUserRequest{Id: "me"})
	wantStatus(t, err, codes.Unauthenticated, "ACCESS_TOKEN_MISSING")
	if _, err := gatehousev1.NewKeyServiceClient(env.conn).ListKeys(t.Context(), &gatehousev1.ListKeysRequest{}); err != nil {
		t.Error(err)
	}
	log := env.stop(t)
	if strings.Contains(log, secret) {
		t.Errorf("the log holds the password: %s", log)
	}
	if !strings.Contains(log, `"request_id":"mine"`) {
		t.Errorf("the log lacks the request id: %s", log)
	}
}

func TestUnknownFields(t *testing.T) {
	u := newUpstream(t)
	var unknown []byte
	u.createUser = func(_ context.Context, req *gatehousev1.CreateUserRequest) error {
		unknown = slices.Clone(req.ProtoReflect().GetUnknown())
		return nil
	}
	conn := u.serve(t)
	env := newTestEnv(t, conn, conn)
	newer := protowire.AppendString(protowire.AppendTag(nil, 1000, protowire.BytesType), "of a newer contract")
	if _, err := env.raw(t.Context(), gatehousev1.UserService_CreateUser_FullMethodName, newer); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(unknown, newer) {
		t.Errorf("the service got %q, want %q", unknown, newer)
	}
}

func TestGRPCErrors(t *testing.T) {
	env, _ := newServedEnv(t)
	const create = gatehousev1.UserService_CreateUser_FullMethodName
	tooLarge := marshal(t, &gatehousev1.CreateUserRequest{FullName: strings.Repeat("a", 1<<20)})
	for _, test := range []struct {
		name, method string
		request      []byte
		code         codes.Code
		reason       string
	}{
		{"no such service", "/gatehouse.v1.NoService/Read", nil, codes.Unimplemented, "ROUTE_NOT_FOUND"},
		{"no such method", "/gatehouse.v1.UserService/ForgetUser", nil, codes.Unimplemented, "ROUTE_NOT_FOUND"},
		{"another case", "/gatehouse.v1.UserService/createUser", nil, codes.Unimplemented, "ROUTE_NOT_FOUND"},
		{"slash after", create + "/", nil, codes.Unimplemented, "ROUTE_NOT_FOUND"},
		{"no message", create, []byte("\xff\xff" + secret), codes.InvalidArgument, "MALFORMED_REQUEST"},
		{"text that is not UTF-8", create, []byte("\x0a\x01\xff"), codes.InvalidArgument, "MALFORMED_REQUEST"},
		{"cut", create, []byte("\x0a\x09" + secret[:4]), codes.InvalidArgument, "MALFORMED_REQUEST"},
		{"1 byte over 16 KiB", create, tooLarge[:16<<10+1], codes.ResourceExhausted, "REQUEST_TOO_LARGE"},
		{"over 1 MiB", create, tooLarge, codes.ResourceExhausted, "REQUEST_TOO_LARGE"},
		{"without token", gatehousev1.UserService_ReadUser_FullMethodName, nil, codes.Unauthenticated, "ACCESS_TOKEN_MISSING"},
		{"no message, without token", gatehousev1.UserService_ReadUser_FullMethodName, []byte("\xff"), codes.Unauthenticated, "ACCESS_TOKEN_MISSING"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := env.raw(t.Context(), test.method, test.request)
			wantStatus(t, err, test.code, test.reason)
			if strings.Contains(status.Convert(err).Proto().String(), secret[:4]) {
				t.Errorf("the answer repeats the request: %v", err)
			}
		})
	}
	log := env.stop(t)
	if strings.Contains(log, secret[:4]) {
		t.Errorf("the log repeats the request: %s", log)
	}
	if strings.Contains(log, `"level":"ERROR"`) {
		t.Error("what a client did wrong is logged as a fault of ours")
	}
}

// TestGRPCCallWithoutMessage sends no message, which grpc-go's clients cannot do and others can.
func TestGRPCCallWithoutMessage(t *testing.T) {
	env, _ := newServedEnv(t)
	stream, err := env.conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		gatehousev1.UserService_CreateUser_FullMethodName, grpc.ForceCodecV2(edge.FrameCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var response edge.Frame
	wantStatus(t, stream.RecvMsg(&response), codes.InvalidArgument, "MALFORMED_REQUEST")
	if log := env.stop(t); strings.Contains(log, `"level":"ERROR"`) {
		t.Error("what a client did wrong is logged as a fault of ours")
	}
}

// TestTransportsAgree compares the error of an upstream over REST and gRPC.
func TestTransportsAgree(t *testing.T) {
	u := newUpstream(t)
	u.createUser = func(context.Context, *gatehousev1.CreateUserRequest) error { return apierr.EmailTaken() }
	conn := u.serve(t)
	env := newTestEnv(t, conn, conn)
	_, err := gatehousev1.NewUserServiceClient(env.conn).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
	if !proto.Equal(status.Convert(err).Proto(), apierr.EmailTaken().GRPCStatus().Proto()) {
		t.Errorf("gRPC tells %v", status.Convert(err).Proto())
	}
	failed := env.post(t, "/v1/users", `{}`).wantFailure(t, 409, "EMAIL_TAKEN")
	if failed.Message != status.Convert(err).Message() || failed.Code != int(codes.AlreadyExists) {
		t.Errorf("REST tells %+v", failed)
	}
}

func TestGRPCUpstreamUnreachable(t *testing.T) {
	conn := unreachable(t)
	env := newTestEnv(t, conn, conn)
	_, err := gatehousev1.NewUserServiceClient(env.conn).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
	wantStatus(t, err, codes.Unavailable, "UNAVAILABLE")
	retry := 0
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() > 0 {
			retry++
		}
	}
	if retry != 1 {
		t.Errorf("details are %v, want one RetryInfo", status.Convert(err).Details())
	}
	checked, err := healthpb.NewHealthClient(env.conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || checked.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %v, %v", checked, err)
	}
}

func TestGRPCPanic(t *testing.T) {
	env := newTestEnv(t, panicking{}, panicking{})
	_, err := gatehousev1.NewUserServiceClient(env.conn).CreateUser(t.Context(), &gatehousev1.CreateUserRequest{})
	wantStatus(t, err, codes.Internal, "INTERNAL")
	if strings.Contains(err.Error(), "own words") {
		t.Errorf("the caller is told: %v", err)
	}
	if log := env.stop(t); !strings.Contains(log, "the panic's own words") {
		t.Errorf("the log is not told: %s", log)
	}
}

func TestHealth(t *testing.T) {
	env, u := newServedEnv(t)
	client := healthpb.NewHealthClient(env.conn)
	want := func(service string, serving healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		response, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || response.GetStatus() != serving {
			t.Errorf("health of %q is %v, %v; want %v", service, response.GetStatus(), err, serving)
		}
	}
	services := []string{
		"", "gatehouse.v1.KeyService", "gatehouse.v1.SessionService", "gatehouse.v1.UserService", "gatehouse.cache", "gatehouse.store",
	}
	for _, service := range services {
		want(service, healthpb.HealthCheckResponse_SERVING)
	}
	for _, unknown := range []string{"gatehouse.v1.NoService", "grpc.health.v1.Health", "gatehouse"} {
		_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: unknown})
		if status.Code(err) != codes.NotFound {
			t.Errorf("health of %q: %v", unknown, err)
		}
	}
	env.get(t, "/readyz").wantOK(t)

	u.health.SetServingStatus("gatehouse.v1.SessionService", healthpb.HealthCheckResponse_NOT_SERVING)
	env.service.health.Readiness.Refresh(t.Context())
	want("", healthpb.HealthCheckResponse_NOT_SERVING)
	want("gatehouse.v1.SessionService", healthpb.HealthCheckResponse_NOT_SERVING)
	want("gatehouse.v1.UserService", healthpb.HealthCheckResponse_SERVING)
	ready := env.get(t, "/readyz")
	if ready.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.text, `"gatehouse.v1.SessionService":"NOT_SERVING"`) ||
		!strings.Contains(ready.text, `"gatehouse.v1.UserService":"SERVING"`) {
		t.Errorf("readyz is %d: %s", ready.StatusCode, ready.text)
	}
	ready.wantHeader(t, "Cache-Control", "no-store")
	u.health.SetServingStatus("gatehouse.v1.SessionService", healthpb.HealthCheckResponse_SERVING)
	env.service.health.Readiness.Refresh(t.Context())
	env.get(t, "/readyz").wantOK(t)

	env.service.health.SetDraining(true)
	for _, service := range services {
		want(service, healthpb.HealthCheckResponse_NOT_SERVING)
	}
	if ready := env.get(t, "/readyz"); ready.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz of a gateway that drains is %d", ready.StatusCode)
	}
	env.get(t, "/healthz").wantOK(t)
}

// TestDrain checks that a draining gateway makes clients reconnect, over both versions of HTTP, and responds until then.
func TestDrain(t *testing.T) {
	env, u := newServedEnv(t)
	token := "Authorization: Bearer " + u.token(t)
	for name, set := range map[string]func(*http.Protocols, bool){
		"HTTP/1.1": (*http.Protocols).SetHTTP1, "HTTP/2.0": (*http.Protocols).SetUnencryptedHTTP2,
	} {
		var protocols http.Protocols
		set(&protocols, true)
		var dialled atomic.Int64
		env.client.Transport = &http.Transport{Protocols: &protocols, DialContext: func(
			ctx context.Context, network, address string,
		) (net.Conn, error) {
			dialled.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
		for _, draining := range []bool{false, true} {
			env.service.health.SetDraining(draining)
			before := dialled.Load()
			for range 3 {
				answer := env.get(t, "/v1/users/me", token)
				answer.wantOK(t)
				if answer.Proto != name {
					t.Errorf("the answer is %s", answer.Proto)
				}
			}
			// The first answer of a gateway that drains comes by the connection that is there. Over HTTP/2 the word to
			// go may come a little later than the answer.
			if got := dialled.Load() - before; got < 1 || !draining && got > 1 {
				t.Errorf("%s, draining %v: %d connections for three requests", name, draining, got)
			}
		}
		env.client.CloseIdleConnections()
	}
}

// TestShutdown stops a gateway while a call of each transport is at the upstream.
func TestShutdown(t *testing.T) {
	u := newUpstream(t)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	u.createUser = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
		entered <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	conn := u.serve(t)
	env := newTestEnv(t, conn, conn)
	stopping := make(chan struct{})
	env.service.rest.HTTP.RegisterOnShutdown(func() { close(stopping) })

	rest, native := make(chan int, 1), make(chan error, 1)
	go func() {
		response, err := env.client.Post(env.base+"/v1/users", "application/json", strings.NewReader(`{}`))
		if err != nil {
			t.Error(err)
			rest <- 0
			return
		}
		_ = response.Body.Close()
		rest <- response.StatusCode
	}()
	go func() {
		_, err := gatehousev1.NewUserServiceClient(env.conn).CreateUser(context.Background(), &gatehousev1.CreateUserRequest{})
		native <- err
	}()
	<-entered
	<-entered
	env.cancel()
	<-stopping
	for late := time.Now().Add(5 * time.Second); !env.service.health.Draining(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Error("health does not tell that the gateway drains")
			break
		}
	}
	select {
	case <-env.ended:
		t.Error("the gateway ended before its calls")
	default:
	}
	close(release)
	if code := <-rest; code != http.StatusOK {
		t.Errorf("the REST call was answered %d", code)
	}
	if err := <-native; err != nil {
		t.Errorf("the gRPC call: %v", err)
	}
	env.stop(t)
	if response, err := env.client.Get(env.base + "/healthz"); err == nil {
		_ = response.Body.Close()
		t.Error("a gateway that was stopped answers")
	}
}

// TestRunListenerError checks that Run ends if one listener fails: half a gateway would look healthy.
func TestRunListenerError(t *testing.T) {
	conn := newUpstream(t).serve(t)
	lost, native := listen(t), listen(t)
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	service, err := New(t.Context(), Config{Issuer: issuer, Audience: audience},
		Upstreams{Cache: conn, Store: conn}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Run(t.Context(), lost, native); err == nil || !strings.Contains(err.Error(), "serve HTTP") {
		t.Errorf("Run = %v", err)
	}
}

func TestNewWithoutNames(t *testing.T) {
	if _, err := New(t.Context(), Config{}, Upstreams{}, nil); err == nil {
		t.Error("a gateway without issuer and audience starts")
	}
}
