package grpcx_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// TestServerAuthenticatesBeforeValidation checks that validation comes after authentication.
func TestServerAuthenticatesBeforeValidation(t *testing.T) {
	h := newTestEnv(t)
	broken := &gatehousev1.ReadUserRequest{Id: "no id"}
	_, err := h.users.ReadUser(t.Context(), broken)
	wantStatus(t, err, codes.Unauthenticated, "ACCESS_TOKEN_MISSING")
	_, err = h.users.ReadUser(as(t, "Bearer nonsense"), broken)
	wantStatus(t, err, codes.Unauthenticated, "ACCESS_TOKEN_INVALID")
	_, err = h.users.ReadUser(as(t, h.bearer(t)), broken)
	wantStatus(t, err, codes.InvalidArgument, "INVALID_FIELDS")
	if h.service.calls != 0 {
		t.Error("a refused call reached the handler")
	}
	if _, err := h.users.ReadUser(as(t, h.bearer(t)), &gatehousev1.ReadUserRequest{Id: "me"}); err != nil {
		t.Error(err)
	}
	if h.service.calls != 1 || h.service.caller.UserID != userID {
		t.Errorf("the handler was called %d times, by %+v", h.service.calls, h.service.caller)
	}
}

func TestValidateNamesFieldsWithoutValues(t *testing.T) {
	h := newTestEnv(t)
	const short = "s3cr!t7"
	_, err := h.users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{Email: "no-address", Password: short})
	st := wantStatus(t, err, codes.InvalidArgument, "INVALID_FIELDS")
	reasons := map[string]string{}
	for _, detail := range st.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				reasons[violation.GetField()] = violation.GetReason()
				if violation.GetDescription() == "" {
					t.Errorf("nothing is said of %s", violation.GetField())
				}
			}
		}
	}
	want := map[string]string{"email": "EMAIL_ADDRESS", "full_name": "REQUIRED", "password": "STRING_MIN_LEN"}
	if !reflect.DeepEqual(reasons, want) {
		t.Errorf("violations are %v, want %v", reasons, want)
	}
	log := h.stop(t)
	for name, text := range map[string]string{"answer": st.Proto().String(), "log": log} {
		if strings.Contains(text, short) || strings.Contains(text, "no-address") {
			t.Errorf("the %s repeats a value: %s", name, text)
		}
	}
}

func TestPanicIsInternalAndLogged(t *testing.T) {
	h := newTestEnv(t)
	h.service.create = func(context.Context, *gatehousev1.CreateUserRequest) error { panic("the panic's own words") }
	_, err := h.users.CreateUser(callctx.WithRequestID(t.Context(), "the-panic"), newUser())
	st := wantStatus(t, err, codes.Internal, "INTERNAL")
	if text := st.Proto().String(); strings.Contains(text, "own words") || strings.Contains(text, "goroutine") {
		t.Errorf("the caller is told: %s", text)
	}
	if _, err := h.users.ReadUser(as(t, h.bearer(t)), &gatehousev1.ReadUserRequest{Id: "me"}); err != nil {
		t.Errorf("the server does not go on: %v", err)
	}
	wantLine(t, h.stop(t), "the panic's own words", `"request_id":"the-panic"`, `"level":"ERROR"`, "grpcx_test.go",
		`"reason":"INTERNAL"`)
}

// wantLine fails the test unless one line of the log has all these parts.
func wantLine(t *testing.T, log string, parts ...string) {
	t.Helper()
	for line := range strings.Lines(log) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return
		}
	}
	t.Errorf("no line of the log has %q: %s", parts, log)
}

func TestAccessLogCause(t *testing.T) {
	h := newTestEnv(t)
	for _, test := range []struct {
		name  string
		err   error
		code  codes.Code
		level string
	}{
		{"INTERNAL", errors.New("dial tcp 10.0.0.7:3306"), codes.Internal, "ERROR"},
		{"UNAVAILABLE", apierr.Unavailable(errors.New("dial tcp 10.0.0.7:3306")), codes.Unavailable, "WARN"},
		{"DEADLINE_EXCEEDED", fmt.Errorf("dial tcp 10.0.0.7:3306: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "WARN"},
		{"EMAIL_TAKEN", fmt.Errorf("dial tcp 10.0.0.7:3306: %w", apierr.EmailTaken()), codes.AlreadyExists, "DEBUG"},
	} {
		h.service.create = func(context.Context, *gatehousev1.CreateUserRequest) error { return test.err }
		_, err := h.users.CreateUser(callctx.WithRequestID(t.Context(), "cause-"+test.name), newUser())
		st := wantStatus(t, err, test.code, test.name)
		if strings.Contains(st.Proto().String(), "10.0.0.7") {
			t.Errorf("the caller is told: %v", st.Proto())
		}
		defer func() {
			wantLine(t, h.stop(t), "10.0.0.7", `"request_id":"cause-`+test.name, `"level":"`+test.level+`"`, `"reason":"`+test.name+`"`)
		}()
	}
}

func TestAccessLogWithoutBody(t *testing.T) {
	h := newTestEnv(t)
	token := h.bearer(t)
	for _, err := range []error{nil, errors.New("plain"), apierr.EmailTaken()} {
		h.service.create = func(context.Context, *gatehousev1.CreateUserRequest) error { return err }
		_, _ = h.users.CreateUser(as(t, token), newUser()) // What is logged matters, whatever is answered.
	}
	_, _ = h.users.ReadUser(as(t, token+"x"), &gatehousev1.ReadUserRequest{Id: "me"})
	log := h.stop(t)
	if strings.Count(log, `"msg":"call"`) != 4 {
		t.Errorf("the log has not one line for each call: %s", log)
	}
	for _, value := range []string{secret, serviceToken, "ada@example.com", "Lovelace", strings.TrimPrefix(token, "Bearer ")} {
		if strings.Contains(log, value) {
			t.Errorf("the log holds %q: %s", value, log)
		}
	}
}

func TestOutgoingMetadata(t *testing.T) {
	h := newTestEnv(t)
	token := h.bearer(t)
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(
		authn.AuthorizationKey, token, "x-request-id", "of somebody else", "x-user-id", "admin", "cookie", "a=b"))
	ctx = metadata.AppendToOutgoingContext(callctx.WithRequestID(ctx, "mine"), "x-user-id", "admin")
	if _, err := h.users.ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"}); err != nil {
		t.Fatal(err)
	}
	seen := h.service.seen
	for _, own := range []string{":authority", "content-type", "grpc-accept-encoding", "user-agent"} { // of the connection
		delete(seen, own)
	}
	want := metadata.Pairs(append(asGateway.Metadata(), "x-request-id", "mine", authn.AuthorizationKey, token)...)
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("the service is told %v, want %v", seen, want)
	}
	// Of two tokens none travels: which one was meant is not ours to say.
	_, err := h.users.ReadUser(as(t, token, token), &gatehousev1.ReadUserRequest{Id: "me"})
	wantStatus(t, err, codes.Unauthenticated, "ACCESS_TOKEN_MISSING")
}

func TestDialSetsDeadline(t *testing.T) {
	h := newTestEnv(t)
	left := make(chan time.Duration, 1)
	h.service.create = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
		deadline, ok := ctx.Deadline()
		if !ok {
			t.Error("there is no deadline")
		}
		left <- time.Until(deadline)
		return nil
	}
	if _, err := h.users.CreateUser(t.Context(), newUser()); err != nil {
		t.Fatal(err)
	}
	if got := <-left; got > 10*time.Second {
		t.Errorf("the deadline is in %v", got)
	}
}

func TestHealthWithoutToken(t *testing.T) {
	h := newTestEnv(t)
	client := healthpb.NewHealthClient(h.conn)
	for _, service := range []string{"", gatehousev1.UserService_ServiceDesc.ServiceName} {
		response, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q is %v, %v", service, response, err)
		}
	}
}

// TestServeFinishesCalls stops a server while a call is in its handler and somebody watches its health.
func TestServeFinishesCalls(t *testing.T) {
	h := newTestEnv(t)
	entered, release := make(chan struct{}), make(chan struct{})
	h.service.create = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
		close(entered)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	watching, unwatch := context.WithCancel(t.Context())
	defer unwatch()
	watch, err := healthpb.NewHealthClient(h.conn).Watch(watching, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("health is %v, %v", first, err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := h.users.CreateUser(context.Background(), newUser())
		answered <- err
	}()
	<-entered
	h.cancel()
	if next, err := watch.Recv(); err != nil || next.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health of a server that drains is %v, %v", next, err)
	}
	unwatch()
	select {
	case <-h.ended:
		t.Error("the server ended before its call")
	default:
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the call: %v", err)
	}
	h.stop(t)
}

func TestServeLostListener(t *testing.T) {
	listener := bufconn.Listen(1)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	drained := false
	err := grpcx.ServeUntil(t.Context(), grpc.NewServer(), listener, func() { drained = true })
	if err == nil || drained {
		t.Errorf("ServeUntil = %v; drained: %v", err, drained)
	}
}

func TestValidateRuleError(t *testing.T) {
	validator := failing{err: errors.New("no such rule: " + secret)}
	st := apierr.Status(grpcx.Validate(validator, newUser()))
	if st.Code() != codes.Internal || strings.Contains(st.Message(), secret) {
		t.Errorf("status is %v", st)
	}
}

type failing struct {
	protovalidate.Validator

	err error
}

func (f failing) Validate(proto.Message, ...protovalidate.ValidationOption) error { return f.err }

// TestAccessLogOfCancelledCalls checks that the error of a call which its caller has cancelled is logged at debug level,
// whatever error a driver returns, but that a panic is not hidden.
func TestAccessLogOfCancelledCalls(t *testing.T) {
	for name, test := range map[string]struct {
		fail  func() error
		level string
	}{
		"an error of a driver": {func() error { return errors.New("the driver's own words") }, "DEBUG"},
		"an outage":            {func() error { return apierr.Unavailable(errors.New("the driver's own words")) }, "DEBUG"},
		"a panic":              {func() error { panic("the driver's own words") }, "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestEnv(t)
			ctx, cancel := context.WithCancel(t.Context())
			h.service.create = func(ctx context.Context, _ *gatehousev1.CreateUserRequest) error {
				cancel()
				<-ctx.Done()
				return test.fail()
			}
			_, err := h.users.CreateUser(ctx, newUser())
			wantStatus(t, err, codes.Canceled, "UNSPECIFIED")
			wantLine(t, h.stop(t), "the driver's own words", `"level":"`+test.level+`"`)
		})
	}
}
