// Package apierr is the one funnel through which every error leaves Gatehouse.
//
// A service returns an *Error or wraps one. What reaches the caller is its code, reason, message and details; what
// caused it stays in the process, for the log. Anything that is not an *Error, a status made here, or a cancelled
// context becomes INTERNAL without its text, because the text of a driver can hold addresses, queries or data.
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

// Error is an error with everything the caller is told, and the cause that only the log is told.
type Error struct {
	code    codes.Code
	reason  gatehousev1.ErrorReason
	message string
	about   map[string]string // the metadata of google.rpc.ErrorInfo
	details []protoadapt.MessageV1
	cause   error
}

// Error gives the message and the cause: for the log, never for the caller.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.message
	}
	return fmt.Sprintf("%s: %v", e.message, e.cause)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Reason tells why the call failed.
func (e *Error) Reason() gatehousev1.ErrorReason { return e.reason }

// GRPCStatus is what the caller gets.
func (e *Error) GRPCStatus() *status.Status {
	info := &errdetails.ErrorInfo{Reason: ReasonName(e.reason), Domain: Domain, Metadata: e.about}
	details := append([]protoadapt.MessageV1{protoadapt.MessageV1Of(info)}, e.details...)
	st, err := status.New(e.code, e.message).WithDetails(details...)
	if err != nil { // Only for code OK or a detail that does not marshal: neither is made here.
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

func (e *Error) of(sessionID, userID string) *Error {
	if sessionID != "" && userID != "" {
		e.about = map[string]string{metadataSession: sessionID, metadataUser: userID}
	}
	return e
}

// EndedSession tells which session an error says has ended, and whose it was. They are empty for any other error.
func EndedSession(st *status.Status) (sessionID, userID string) {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return info.GetMetadata()[metadataSession], info.GetMetadata()[metadataUser]
		}
	}
	return "", ""
}

// ReasonName is the reason as it stands in google.rpc.ErrorInfo: the enum's name without its prefix.
func ReasonName(reason gatehousev1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), "ERROR_REASON_")
}

// ReasonOf finds why st failed. It is UNSPECIFIED if st did not come through this package.
func ReasonOf(st *status.Status) gatehousev1.ErrorReason {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return gatehousev1.ErrorReason(gatehousev1.ErrorReason_value["ERROR_REASON_"+info.GetReason()])
		}
	}
	return gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// Status turns any error into what the caller gets. It is nil for nil. Its size does not grow with the request: see
// maxStatusSize.
func Status(err error) *status.Status {
	if err == nil {
		return nil
	}
	if foreign, ok := errors.AsType[*verbatimError](err); ok {
		return boundStatus(foreign.st)
	}
	// The status itself, not status.FromError: that one puts the text of everything wrapped around it in the message.
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

// verbatimError is a status of a protocol that is not ours.
type verbatimError struct{ st *status.Status }

func (e *verbatimError) Error() string { return e.st.Message() }

// Verbatim returns an error whose status reaches the caller as it is, without a reason of ours. It is for protocols
// that others define, such as grpc.health.v1, and for texts that hold nothing of the inside.
func Verbatim(st *status.Status) error { return &verbatimError{st} }

// fromCode gives a reason to what grpc-go made itself: a connection that failed, a message over the limit, a method
// that is not there.
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
		return RouteNotFound("there is no such method")
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
