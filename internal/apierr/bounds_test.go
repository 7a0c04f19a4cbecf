package apierr_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	maxStatus     = 4 << 10
	maxViolations = 16
)

// hostileViolations are as many as a request of a megabyte can break rules, with texts that the caller chose.
func hostileViolations(count, textSize int) []*errdetails.BadRequest_FieldViolation {
	violations := make([]*errdetails.BadRequest_FieldViolation, 0, count)
	for i := range count {
		text := strings.Repeat("ä", textSize/2)
		violations = append(violations, &errdetails.BadRequest_FieldViolation{
			Field: fmt.Sprintf("roles[%d].%s", i, text), Description: text, Reason: text,
		})
	}
	return violations
}

func violationsOf(t *testing.T, st *status.Status) []*errdetails.BadRequest_FieldViolation {
	t.Helper()
	for _, detail := range st.Details() {
		if request, ok := detail.(*errdetails.BadRequest); ok {
			return request.GetFieldViolations()
		}
	}
	t.Errorf("no BadRequest in %v", st.Proto())
	return nil
}

func TestStatusSize(t *testing.T) {
	long := strings.Repeat("ä", 10_000)
	for _, test := range []struct {
		name string
		err  error
	}{
		{"many_short_violations", apierr.InvalidFields(hostileViolations(100_000, 0))},
		{"many_long_violations", apierr.InvalidFields(hostileViolations(1000, 5000))},
		{"one_long_violation", apierr.InvalidFields(hostileViolations(1, 1<<20))},
		{"unreadable_fields", apierr.MalformedFields(hostileViolations(1000, 5000))},
		{"unreadable_request", apierr.MalformedRequest(long, nil)},
		{"route", apierr.RouteNotFound(long)},
		{"method", apierr.MethodNotAllowed(long)},
		{"session_of_any_name", apierr.SessionEnded("session", "user")},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := apierr.Status(test.err)
			if size := proto.Size(st.Proto()); size > maxStatus {
				t.Errorf("the status has %d bytes", size)
			}
			if message := st.Message(); len(message) > 256 || !utf8.ValidString(message) {
				t.Errorf("the message has %d bytes: %q", len(message), message)
			}
		})
	}
}

func TestInvalidFields(t *testing.T) {
	t.Run("the_first_16_are_named", func(t *testing.T) {
		st := apierr.Status(apierr.InvalidFields(hostileViolations(17, 0)))
		named := violationsOf(t, st)
		if len(named) != maxViolations || named[0].GetField() != "roles[0]." || named[15].GetField() != "roles[15]." {
			t.Errorf("violations are %v", named)
		}
		if !strings.Contains(st.Message(), "first") {
			t.Errorf("the message does not say that there are more: %q", st.Message())
		}
	})
	t.Run("sixteen_are_all_named", func(t *testing.T) {
		st := apierr.Status(apierr.InvalidFields(hostileViolations(maxViolations, 0)))
		if named := violationsOf(t, st); len(named) != maxViolations || strings.Contains(st.Message(), "first") {
			t.Errorf("message is %q, violations are %v", st.Message(), named)
		}
	})
	t.Run("texts_are_cut_between_characters", func(t *testing.T) {
		given := hostileViolations(1, 5000)
		named := violationsOf(t, apierr.Status(apierr.InvalidFields(given)))
		for _, text := range []string{named[0].GetField(), named[0].GetDescription(), named[0].GetReason()} {
			if len(text) > 256 || !utf8.ValidString(text) || !strings.HasSuffix(text, "…") {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}
		if len(given[0].GetField()) < 5000 {
			t.Error("the violations of the caller were changed")
		}
	})
}

// TestStatusOfAnotherService uses an upstream that does not bound its own statuses.
func TestStatusOfAnotherService(t *testing.T) {
	whole, err := status.New(codes.InvalidArgument, strings.Repeat("a", 5000)).WithDetails(
		&errdetails.BadRequest{FieldViolations: hostileViolations(1000, 5000)},
		&errdetails.DebugInfo{Detail: "short"},
		&errdetails.ErrorInfo{Reason: "INVALID_FIELDS", Domain: apierr.Domain})
	if err != nil {
		t.Fatal(err)
	}
	st := apierr.Status(fmt.Errorf("ask the store: %w", whole.Err()))
	if size := proto.Size(st.Proto()); size > maxStatus || len(st.Message()) > 256 {
		t.Errorf("the status has %d bytes, the message %d", size, len(st.Message()))
	}
	if st.Code() != codes.InvalidArgument ||
		apierr.ReasonOf(st) != gatehousev1.ErrorReason_ERROR_REASON_INVALID_FIELDS {
		t.Errorf("status is %v %v", st.Code(), apierr.ReasonOf(st))
	}
	if len(st.Details()) != 2 {
		t.Errorf("details are %v, want the two that fit", st.Details())
	}
}

func TestLogText(t *testing.T) {
	short := errors.New("Duplicate entry 'ada' for key")
	if got := apierr.LogText(apierr.Internal(short)); !strings.Contains(got, short.Error()) {
		t.Errorf("the log lacks the cause: %q", got)
	}
	long := apierr.Internal(errors.New(strings.Repeat("ä", 1<<20)))
	if got := apierr.LogText(long); len(got) > 8<<10 || !utf8.ValidString(got) {
		t.Errorf("the log has %d bytes", len(got))
	}
}
