package apierr

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/protoadapt"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// retryUnavailable is the delay before a caller retries after UNAVAILABLE: about as long as a connection attempt and
// its back-off take.
const retryUnavailable = time.Second

// Internal returns the error for a fault of Gatehouse itself. Only the log contains the cause.
func Internal(cause error) *Error {
	return newError(codes.Internal, gatehousev1.ErrorReason_ERROR_REASON_INTERNAL,
		"internal error: see the server log for the request id", cause)
}

// Unavailable returns the error for a service, database or cache that cannot be reached.
func Unavailable(cause error) *Error {
	return newError(codes.Unavailable, gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE,
		"the service is temporarily unavailable: try again later", cause).withRetry(retryUnavailable)
}

// DeadlineExceeded returns the error for a call that was not answered in time.
func DeadlineExceeded(cause error) *Error {
	return newError(codes.DeadlineExceeded, gatehousev1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED,
		"the call was not answered within its deadline", cause)
}

// Cancelled returns the error for a call that its caller cancelled.
func Cancelled(cause error) *Error {
	return newError(codes.Canceled, gatehousev1.ErrorReason_ERROR_REASON_CANCELLED, "the call was cancelled", cause)
}

// Overloaded returns the error for work that is rejected because too much is in progress. The caller may retry after
// the given time.
func Overloaded(retryAfter time.Duration) *Error {
	return newError(codes.ResourceExhausted, gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED,
		"the service is overloaded: try again later", nil).withRetry(retryAfter)
}

// TooManyChanges returns the error for a user who has changed the own account too often. The caller may retry after the
// given time.
func TooManyChanges(retryAfter time.Duration) *Error {
	return newError(codes.ResourceExhausted, gatehousev1.ErrorReason_ERROR_REASON_TOO_MANY_CHANGES,
		"too many changes of the account: try again later", nil).withRetry(retryAfter)
}

// MalformedRequest returns the error for a request that cannot be parsed. The message must not quote the request, which
// may contain a password.
func MalformedRequest(message string, cause error) *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, message, cause)
}

// MalformedFields returns the error for a request that cannot be parsed because of the given fields, if any are known.
// At most 16 violations are included.
func MalformedFields(violations []*errdetails.BadRequest_FieldViolation) *Error {
	const message = "the request does not match the contract"
	if len(violations) == 0 {
		return MalformedRequest(message, nil)
	}
	return MalformedRequest(message, nil).withViolations(message+"; see the details for the first fields", violations)
}

// InvalidFields returns the error for a request that violates rules of the contract. At most 16 violations are
// included.
func InvalidFields(violations []*errdetails.BadRequest_FieldViolation) *Error {
	const message = "the request has invalid fields; see the details for the "
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_INVALID_FIELDS, message+"violations", nil).
		withViolations(message+"first violations", violations)
}

// withViolations adds as many violations as fit into a status, and sets the message to messageIfCut if some do not.
func (e *Error) withViolations(messageIfCut string, all []*errdetails.BadRequest_FieldViolation) *Error {
	named := boundViolations(all)
	if len(named) < len(all) {
		e.message = messageIfCut
	}
	e.details = append(e.details, protoadapt.MessageV1Of(&errdetails.BadRequest{FieldViolations: named}))
	return e
}

// RequestTooLarge returns the error for a request over the size limit of its method.
func RequestTooLarge(cause error) *Error {
	return newError(codes.ResourceExhausted, gatehousev1.ErrorReason_ERROR_REASON_REQUEST_TOO_LARGE,
		"the request is larger than its method accepts", cause)
}

// UnsupportedMediaType returns the error for a REST body that is not JSON.
func UnsupportedMediaType() *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
		"the body is not JSON: send Content-Type: application/json", nil)
}

// RouteNotFound returns the error for an RPC or a REST route that does not exist.
func RouteNotFound(message string) *Error {
	return newError(codes.Unimplemented, gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND, message, nil)
}

// MethodNotAllowed returns the error for a REST route that exists only for other HTTP methods.
func MethodNotAllowed(message string) *Error {
	return newError(codes.Unimplemented, gatehousev1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED, message, nil)
}

// AccessTokenMissing returns the error for a call without a token to a method that requires one.
func AccessTokenMissing() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING,
		"missing access token: send authorization: Bearer …", nil)
}

// AccessTokenInvalid returns the error for a token that this system did not issue, or not for this audience. Only the
// log contains the cause, so that the error does not help a forger.
func AccessTokenInvalid(cause error) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID,
		"invalid access token", cause)
}

// AccessTokenExpired returns the error for a valid token that has expired.
func AccessTokenExpired() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED,
		"the access token has expired: refresh the session or log in again", nil)
}

// InvalidCredentials returns the error for an unknown address or a wrong password. It is the same for both.
func InvalidCredentials() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS,
		"wrong e-mail address or password", nil)
}

// SessionEnded returns the error for a token of a session that was ended. The ids of the session and its user, if not
// empty, become part of the error, so that a cache of the session can invalidate it.
func SessionEnded(sessionID, userID string) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED,
		"the session has ended: log in again", nil).withSession(sessionID, userID)
}

// SessionExpired returns the error for a token of a session that was not refreshed in time, or has reached its maximum
// age.
func SessionExpired() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED,
		"the session has expired: log in again", nil)
}

// RefreshTokenInvalid returns the error for a refresh token that this system did not issue. Only the log contains the
// cause.
func RefreshTokenInvalid(cause error) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_INVALID,
		"invalid refresh token: log in again", cause)
}

// RefreshTokenReused returns the error for a refresh token whose reuse proves that two parties hold the session. The
// session has ended.
func RefreshTokenReused(sessionID, userID string) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_REUSED,
		"the refresh token was already used and may be stolen; the session has ended: log in again", nil).
		withSession(sessionID, userID)
}

// RoleRequired returns the error for a call, or a field of one, that is restricted to admins.
func RoleRequired() *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED,
		"the role admin is required", nil)
}

// PasswordWrong returns the error for a wrong current password of an authenticated caller.
func PasswordWrong() *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_PASSWORD_WRONG,
		"wrong current password", nil)
}

// PageTokenInvalid returns the error for a page token of another list or caller, or one that was never issued.
func PageTokenInvalid(cause error) *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID,
		"invalid page token: list again from the first page", cause)
}

// EmailTaken returns the error for a sign-up with the address of an existing account.
func EmailTaken() *Error {
	return newError(codes.AlreadyExists, gatehousev1.ErrorReason_ERROR_REASON_EMAIL_TAKEN,
		"an account with this e-mail address already exists", nil)
}

// UserNotFound returns the error for a user who does not exist, or is not visible to the caller.
func UserNotFound() *Error {
	return newError(codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND, "user not found", nil)
}

// SessionNotFound returns the error for a session that does not exist, or is not visible to the caller.
func SessionNotFound() *Error {
	return newError(codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND,
		"session not found", nil)
}

// UserDisabled returns the error for a log-in with the right password to a disabled account.
func UserDisabled() *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_USER_DISABLED,
		"the account is disabled", nil)
}

// VersionMismatch returns the error for a change that expects another version.
func VersionMismatch() *Error {
	return newError(codes.Aborted, gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH,
		"the version has changed: read the resource again and retry", nil)
}

// UnknownEntityTag returns the error for a change that expects an entity tag which no version has.
func UnknownEntityTag() *Error {
	return newError(codes.Aborted, gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH,
		`If-Match contains no entity tag of this API, such as "7": send the ETag of the last response unchanged`, nil)
}

// RequestIDReused returns the error for a request id that was used for another request.
func RequestIDReused() *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED,
		"the request id was already used for another request: send a new one", nil)
}

// RecentLoginRequired returns the error for a call that requires a recently opened session.
func RecentLoginRequired() *Error {
	return newError(codes.FailedPrecondition, gatehousev1.ErrorReason_ERROR_REASON_RECENT_LOGIN_REQUIRED,
		"the log-in is more than 10 minutes old: log in again", nil)
}

// LastAdmin returns the error for a change that would leave no admin who can log in.
func LastAdmin() *Error {
	return newError(codes.FailedPrecondition, gatehousev1.ErrorReason_ERROR_REASON_LAST_ADMIN,
		"the change would leave no administrator who can log in", nil)
}

// OwnAccount returns the error for a call that cannot be used on the caller's own account. The argument names the call
// to use instead.
func OwnAccount(instead string) *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_OWN_ACCOUNT,
		"the call does not apply to the own account: use "+instead, nil)
}

// ServiceCredentialInvalid returns the error for a call to a service port whose sender did not prove that it is a
// service, or may not call the method.
func ServiceCredentialInvalid() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_SERVICE_CREDENTIAL_INVALID,
		"missing or invalid service credential: this port accepts calls from Gatehouse services only", nil)
}
