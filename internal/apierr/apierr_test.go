package apierr_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// errDriver is the error of a driver. It must reach the log, but never the caller.
var errDriver = errors.New("dial tcp 10.0.0.7:3306: password of root refused")

var fields = []*errdetails.BadRequest_FieldViolation{{Field: "email", Description: "is no address", Reason: "EMAIL"}}

// constructors are all constructors of the package, with the code and details that the contract defines for each reason.
var constructors = []struct {
	reason  string
	code    codes.Code
	err     *apierr.Error
	cause   error
	details []proto.Message // beside the ErrorInfo
}{
	{"INTERNAL", codes.Internal, apierr.Internal(errDriver), errDriver, nil},
	{"UNAVAILABLE", codes.Unavailable, apierr.Unavailable(errDriver), errDriver, retryAfter(time.Second)},
	{"DEADLINE_EXCEEDED", codes.DeadlineExceeded, apierr.DeadlineExceeded(errDriver), errDriver, nil},
	{"CANCELLED", codes.Canceled, apierr.Cancelled(errDriver), errDriver, nil},
	{"OVERLOADED", codes.ResourceExhausted, apierr.Overloaded(3 * time.Second), nil, retryAfter(3 * time.Second)},
	{
		"TOO_MANY_CHANGES", codes.ResourceExhausted, apierr.TooManyChanges(3 * time.Second), nil,
		retryAfter(3 * time.Second),
	},
	{"MALFORMED_REQUEST", codes.InvalidArgument, apierr.MalformedRequest("it ends early", errDriver), errDriver, nil},
	{"MALFORMED_REQUEST", codes.InvalidArgument, apierr.MalformedFields(nil), nil, nil},
	{"MALFORMED_REQUEST", codes.InvalidArgument, apierr.MalformedFields(fields), nil, badRequest()},
	{"INVALID_FIELDS", codes.InvalidArgument, apierr.InvalidFields(fields), nil, badRequest()},
	{"REQUEST_TOO_LARGE", codes.ResourceExhausted, apierr.RequestTooLarge(errDriver), errDriver, nil},
	{"UNSUPPORTED_MEDIA_TYPE", codes.InvalidArgument, apierr.UnsupportedMediaType(), nil, nil},
	{"ROUTE_NOT_FOUND", codes.Unimplemented, apierr.RouteNotFound("no such route"), nil, nil},
	{"METHOD_NOT_ALLOWED", codes.Unimplemented, apierr.MethodNotAllowed("only read"), nil, nil},
	{"ACCESS_TOKEN_MISSING", codes.Unauthenticated, apierr.AccessTokenMissing(), nil, nil},
	{"ACCESS_TOKEN_INVALID", codes.Unauthenticated, apierr.AccessTokenInvalid(errDriver), errDriver, nil},
	{"ACCESS_TOKEN_EXPIRED", codes.Unauthenticated, apierr.AccessTokenExpired(), nil, nil},
	{"INVALID_CREDENTIALS", codes.Unauthenticated, apierr.InvalidCredentials(), nil, nil},
	{"SESSION_ENDED", codes.Unauthenticated, apierr.SessionEnded("", ""), nil, nil},
	{"SESSION_EXPIRED", codes.Unauthenticated, apierr.SessionExpired(), nil, nil},
	{"REFRESH_TOKEN_INVALID", codes.Unauthenticated, apierr.RefreshTokenInvalid(errDriver), errDriver, nil},
	{"REFRESH_TOKEN_REUSED", codes.Unauthenticated, apierr.RefreshTokenReused("", ""), nil, nil},
	{"PASSWORD_WRONG", codes.PermissionDenied, apierr.PasswordWrong(), nil, nil},
	{"ROLE_REQUIRED", codes.PermissionDenied, apierr.RoleRequired(), nil, nil},
	{"USER_DISABLED", codes.PermissionDenied, apierr.UserDisabled(), nil, nil},
	{"VERSION_MISMATCH", codes.Aborted, apierr.VersionMismatch(), nil, nil},
	{"REQUEST_ID_REUSED", codes.InvalidArgument, apierr.RequestIDReused(), nil, nil},
	{"RECENT_LOGIN_REQUIRED", codes.FailedPrecondition, apierr.RecentLoginRequired(), nil, nil},
	{"LAST_ADMIN", codes.FailedPrecondition, apierr.LastAdmin(), nil, nil},
	{"OWN_ACCOUNT", codes.PermissionDenied, apierr.OwnAccount("ChangePassword"), nil, nil},
	{"PAGE_TOKEN_INVALID", codes.InvalidArgument, apierr.PageTokenInvalid(errDriver), errDriver, nil},
	{"SESSION_NOT_FOUND", codes.NotFound, apierr.SessionNotFound(), nil, nil},
	{"EMAIL_TAKEN", codes.AlreadyExists, apierr.EmailTaken(), nil, nil},
	{"USER_NOT_FOUND", codes.NotFound, apierr.UserNotFound(), nil, nil},
	{"SERVICE_CREDENTIAL_INVALID", codes.Unauthenticated, apierr.ServiceCredentialInvalid(), nil, nil},
}

func retryAfter(d time.Duration) []proto.Message {
	return []proto.Message{&errdetails.RetryInfo{RetryDelay: durationpb.New(d)}}
}

func badRequest() []proto.Message {
	return []proto.Message{&errdetails.BadRequest{FieldViolations: fields}}
}

func TestConstructors(t *testing.T) {
	for _, test := range constructors {
		t.Run(test.reason, func(t *testing.T) {
			st := apierr.Status(test.err)
			if st.Code() != test.code {
				t.Errorf("code is %v, want %v", st.Code(), test.code)
			}
			want := append([]proto.Message{&errdetails.ErrorInfo{Reason: test.reason, Domain: "gatehouse"}}, test.details...)
			got := st.Details()
			if len(got) != len(want) {
				t.Fatalf("details are %v, want %v", got, want)
			}
			for i := range want {
				if detail, ok := got[i].(proto.Message); !ok || !proto.Equal(detail, want[i]) {
					t.Errorf("detail %d is %v, want %v", i, got[i], want[i])
				}
			}
			if strings.Contains(st.Proto().String(), errDriver.Error()) {
				t.Errorf("the caller is told the cause: %v", st.Proto())
			}
			if st.Message() == "" {
				t.Error("there is no message")
			}
			if got := errors.Unwrap(test.err); !errors.Is(got, test.cause) {
				t.Errorf("the cause is %v, want %v", got, test.cause)
			}
			if logged := strings.Contains(test.err.Error(), errDriver.Error()); logged != (test.cause != nil) {
				t.Errorf("the log's text is %q", test.err)
			}
			if got := apierr.ReasonName(test.err.Reason()); got != test.reason {
				t.Errorf("Reason is %s", got)
			}
			if got := apierr.ReasonOf(st); got != test.err.Reason() {
				t.Errorf("ReasonOf is %v", got)
			}
		})
	}
}

func TestEveryReasonHasConstructor(t *testing.T) {
	made := map[gatehousev1.ErrorReason]bool{gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED: true}
	for _, constructor := range constructors {
		made[constructor.err.Reason()] = true
	}
	for number, name := range gatehousev1.ErrorReason_name {
		if !made[gatehousev1.ErrorReason(number)] {
			t.Errorf("nothing makes %s", name)
		}
	}
}

func TestVerbatim(t *testing.T) {
	st := status.New(codes.NotFound, "unknown service")
	if got := apierr.Status(fmt.Errorf("check health: %w", apierr.Verbatim(st))); !proto.Equal(got.Proto(), st.Proto()) {
		t.Errorf("status is %v, want %v", got.Proto(), st.Proto())
	}
}

func TestStatusOfNil(t *testing.T) {
	if st := apierr.Status(nil); st != nil {
		t.Errorf("status is %v", st)
	}
}

func TestStatus(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("read session 7: %w", fmt.Errorf("query: %w", err)) }
	for _, test := range []struct {
		name   string
		err    error
		code   codes.Code
		reason string
	}{
		{"a plain error", errDriver, codes.Internal, "INTERNAL"},
		{"an error of ours, wrapped", wrapped(apierr.EmailTaken()), codes.AlreadyExists, "EMAIL_TAKEN"},
		{"an error of ours, joined", errors.Join(errDriver, apierr.UserNotFound()), codes.NotFound, "USER_NOT_FOUND"},
		{"an error of ours over another", apierr.Unavailable(apierr.EmailTaken()), codes.Unavailable, "UNAVAILABLE"},
		{"an error of ours over a deadline", apierr.Internal(context.DeadlineExceeded), codes.Internal, "INTERNAL"},
		{"deadline", context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
		{"deadline, wrapped", wrapped(context.DeadlineExceeded), codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
		{"cancelled, wrapped", wrapped(context.Canceled), codes.Canceled, "CANCELLED"},
		{"upstream cannot be reached", bare(codes.Unavailable), codes.Unavailable, "UNAVAILABLE"},
		{"upstream cannot be reached, wrapped", wrapped(bare(codes.Unavailable)), codes.Unavailable, "UNAVAILABLE"},
		{"upstream out of time", bare(codes.DeadlineExceeded), codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
		{"upstream call cancelled", bare(codes.Canceled), codes.Canceled, "CANCELLED"},
		{"message over the limit", bare(codes.ResourceExhausted), codes.ResourceExhausted, "REQUEST_TOO_LARGE"},
		{"method that upstream lacks", bare(codes.Unimplemented), codes.Unimplemented, "ROUTE_NOT_FOUND"},
		{"upstream does not know", bare(codes.Unknown), codes.Internal, "INTERNAL"},
		{"upstream INTERNAL", bare(codes.Internal), codes.Internal, "INTERNAL"},
		{"upstream UNAUTHENTICATED that is not ours", bare(codes.Unauthenticated), codes.Internal, "INTERNAL"},
		{"upstream NOT_FOUND that is not ours", bare(codes.NotFound), codes.Internal, "INTERNAL"},
		{"the reason of another domain", foreign(t, "EMAIL_TAKEN", "example.com"), codes.Internal, "INTERNAL"},
		{"a reason of ours that is not in the contract", foreign(t, "NO_SUCH", "gatehouse"), codes.Internal, "INTERNAL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := apierr.Status(test.err)
			if st.Code() != test.code || apierr.ReasonName(apierr.ReasonOf(st)) != test.reason {
				t.Errorf("status is %v %v, want %v %s", st.Code(), apierr.ReasonOf(st), test.code, test.reason)
			}
			for _, inner := range []string{errDriver.Error(), "read session", "query"} {
				if strings.Contains(st.Proto().String(), inner) {
					t.Errorf("the caller is told %q: %v", inner, st.Proto())
				}
			}
		})
	}
}

// bare is a status made by grpc-go, with an internal text.
func bare(code codes.Code) error { return status.Error(code, errDriver.Error()) }

func foreign(t *testing.T, reason, domain string) error {
	t.Helper()
	st, err := status.New(codes.AlreadyExists, errDriver.Error()).
		WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: domain})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestStatusKeepsOwnStatus(t *testing.T) {
	for _, made := range constructors {
		want := apierr.Status(made.err)
		// What a service says, as the gateway gets it from its connection.
		if got := apierr.Status(fmt.Errorf("ask the store: %w", want.Err())); !proto.Equal(got.Proto(), want.Proto()) {
			t.Errorf("status is %v, want %v", got.Proto(), want.Proto())
		}
	}
}

func TestEndedSession(t *testing.T) {
	for _, err := range []error{apierr.SessionEnded("session", "user"), apierr.RefreshTokenReused("session", "user")} {
		if session, user := apierr.EndedSession(apierr.Status(err)); session != "session" || user != "user" {
			t.Errorf("%v names %q of %q", err, session, user)
		}
	}
	foreign, detailsErr := status.New(codes.Unauthenticated, "").WithDetails(&errdetails.ErrorInfo{
		Domain: "another", Metadata: map[string]string{"session": "session", "user": "user"},
	})
	if detailsErr != nil {
		t.Fatal(detailsErr)
	}
	for _, st := range []*status.Status{
		nil, foreign, apierr.Status(apierr.SessionEnded("session", "")), apierr.Status(apierr.SessionExpired()),
	} {
		if session, user := apierr.EndedSession(st); session != "" || user != "" {
			t.Errorf("%v names %q of %q", st, session, user)
		}
	}
}
