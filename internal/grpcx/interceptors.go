package grpcx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

func accessLog(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		began := time.Now()
		response, err := next(ctx, req)
		// The gateway logs every call already.
		LogCall(ctx, log, slog.LevelDebug, info.FullMethod, time.Since(began), err)
		return response, apierr.Status(err).Err()
	}
}

// LogCall logs a call that has ended: metadata only, never a request or response. A call that fails because of
// Gatehouse is logged at warning or error level, any other at the level that is passed. A call that its caller has
// cancelled is logged at debug level: a client can start and cancel tens of thousands in a second. The context must be
// that of the call.
func LogCall(
	ctx context.Context, log *slog.Logger, level slog.Level, method string, took time.Duration, err error,
) {
	st := apierr.Status(err)
	level = callLevel(ctx, level, st.Code(), err)
	if !log.Enabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", method),
		slog.String("code", st.Code().String()),
		slog.Int64("took_us", took.Microseconds()),
		slog.String("client", callctx.ClientFrom(ctx).Address),
	}
	if err != nil {
		attributes = append(attributes,
			slog.String("reason", apierr.ReasonName(apierr.ReasonOf(st))), slog.String("error", apierr.LogText(err)))
	}
	log.LogAttrs(ctx, level, "call", attributes...)
}

func callLevel(ctx context.Context, level slog.Level, code codes.Code, err error) slog.Level {
	_, panicked := errors.AsType[*panicError](err)
	ended := ctx.Err()
	switch {
	case panicked:
		return slog.LevelError
	case code == codes.OK:
		return level
	case code == codes.Canceled, errors.Is(ended, context.Canceled):
		return slog.LevelDebug
	case ended != nil: // The caller's own deadline has passed.
		return level
	case code == codes.Internal:
		return slog.LevelError
	case code == codes.Unavailable, code == codes.DeadlineExceeded:
		return slog.LevelWarn
	default:
		return level // The caller's error.
	}
}

// panicError is the error of a panic.
type panicError struct {
	value any
	stack []byte
}

// Error returns the value and the stack: for the log, never for the caller.
func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func recovery(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
	defer Recover(&err)
	return next(ctx, req)
}

// Recover converts a panic, where it is deferred, to an INTERNAL error whose cause contains the stack.
func Recover(err *error) {
	if panicked := recover(); panicked != nil {
		*err = apierr.Internal(&panicError{panicked, debug.Stack()})
	}
}

func validation(validator protovalidate.Validator) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if message, ok := req.(proto.Message); ok {
			if err := Validate(validator, message); err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	}
}

// Validate checks a request by the rules of the contract. Its error names each field that breaks a rule, and the rule,
// never the value.
func Validate(validator protovalidate.Validator, message proto.Message) error {
	err := validator.Validate(message)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return apierr.Internal(fmt.Errorf("validate %s: %w", message.ProtoReflect().Descriptor().FullName(), err))
	}
	fields := make([]*errdetails.BadRequest_FieldViolation, 0, len(invalid.Violations))
	for _, violation := range invalid.Violations {
		fields = append(fields, &errdetails.BadRequest_FieldViolation{
			Field:       protovalidate.FieldPathString(violation.Proto.GetField()),
			Description: violation.Proto.GetMessage(),
			Reason:      fieldReason(violation.Proto.GetRuleId()),
		})
	}
	return apierr.InvalidFields(fields)
}

// fieldReason formats a rule's id ("string.min_bytes") as google.rpc.BadRequest requires ("STRING_MIN_BYTES").
func fieldReason(ruleID string) string {
	return strings.ToUpper(strings.ReplaceAll(ruleID, ".", "_"))
}
