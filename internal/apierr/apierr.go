// Package apierr converts every error that leaves Gatehouse into a gRPC status.
//
// A service returns an *Error or wraps one. The caller receives its code, reason, message and details; only the log
// contains its cause. Any error that is not an *Error, a status made here, or a cancelled context becomes INTERNAL
// without its text, because the text of a driver can contain addresses, queries or data.
package apierr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// Domain is the `domain` of every google.rpc.ErrorInfo.
const Domain = "gatehouse"

// Error is an error with the code, reason, message and details for the caller, and a cause for the log.
type Error struct {
	code     codes.Code
	reason   gatehousev1.ErrorReason
	message  string
	metadata map[string]string // the metadata of google.rpc.ErrorInfo
	details  []protoadapt.MessageV1
	cause    error
}

// Error returns the message and the cause, for the log. It must not be sent to the caller.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.message
	}
	return fmt.Sprintf("%s: %v", e.message, e.cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Reason returns the reason why the call failed.
func (e *Error) Reason() gatehousev1.ErrorReason { return e.reason }

// GRPCStatus returns the status for the caller.
func (e *Error) GRPCStatus() *status.Status {
	info := &errdetails.ErrorInfo{Reason: ReasonName(e.reason), Domain: Domain, Metadata: e.metadata}
	details := append([]protoadapt.MessageV1{protoadapt.MessageV1Of(info)}, e.details...)
	st, err := status.New(e.code, e.message).WithDetails(details...)
	if err != nil { // Only for code OK or a detail that does not marshal; neither occurs here.
		panic(fmt.Sprintf("error details of %v: %v", e.reason, err))
	}
	return st
}

func newError(code codes.Code, reason gatehousev1.ErrorReason, message string, cause error) *Error {
	return &Error{code: code, reason: reason, message: truncate(message, maxMessage), cause: cause}
}

func (e *Error) withRetry(after time.Duration) *Error {
	e.details = append(e.details, protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}))
	return e
}

// The keys of google.rpc.ErrorInfo.metadata.
const (
	metadataSession = "session"
	metadataUser    = "user"
)

func (e *Error) withSession(sessionID, userID string) *Error {
	if sessionID != "" && userID != "" {
		e.metadata = map[string]string{metadataSession: sessionID, metadataUser: userID}
	}
	return e
}

// EndedSession returns the ids of the ended session and its user that a status contains. They are empty for any other
// status.
func EndedSession(st *status.Status) (sessionID, userID string) {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return info.GetMetadata()[metadataSession], info.GetMetadata()[metadataUser]
		}
	}
	return "", ""
}

// ReasonName returns the reason as google.rpc.ErrorInfo contains it: the enum's name without its prefix.
func ReasonName(reason gatehousev1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), "ERROR_REASON_")
}

// ReasonOf returns the reason of st, or UNSPECIFIED if st was not made by this package.
func ReasonOf(st *status.Status) gatehousev1.ErrorReason {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return gatehousev1.ErrorReason(gatehousev1.ErrorReason_value["ERROR_REASON_"+info.GetReason()])
		}
	}
	return gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// Status returns the status for the caller of any error, or nil for nil. Its size is bounded: see maxStatusSize.
func Status(err error) *status.Status {
	if err == nil {
		return nil
	}
	if foreign, ok := errors.AsType[*verbatimError](err); ok {
		return boundStatus(foreign.st)
	}
	// status.FromError is not used: it adds the text of all wrapping errors to the message.
	var carrier interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &carrier) {
		return fromContext(err).GRPCStatus()
	}
	st := carrier.GRPCStatus()
	if ReasonOf(st) != gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return boundStatus(st)
	}
	return fromCode(st.Code(), err).GRPCStatus()
}

// verbatimError is a status of a third-party protocol.
type verbatimError struct{ st *status.Status }

func (e *verbatimError) Error() string { return e.st.Message() }

// Verbatim returns an error whose status reaches the caller unchanged, without an ErrorReason. It is for third-party
// protocols, such as grpc.health.v1, and for texts that contain no internal data.
func Verbatim(st *status.Status) error { return &verbatimError{st} }

// fromCode returns the error for a status that grpc-go made itself: a failed connection, a message over the limit, an
// unknown method.
func fromCode(code codes.Code, cause error) *Error {
	switch code {
	case codes.Unavailable:
		return Unavailable(cause)
	case codes.DeadlineExceeded:
		return DeadlineExceeded(cause)
	case codes.Canceled:
		return Cancelled(cause)
	case codes.ResourceExhausted:
		return RequestTooLarge(cause)
	case codes.Unimplemented:
		return RouteNotFound("method not found")
	default:
		return Internal(cause)
	}
}

func fromContext(err error) *Error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded(err)
	case errors.Is(err, context.Canceled):
		return Cancelled(err)
	default:
		return Internal(err)
	}
}
