package apierr

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/protoadapt"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// retryUnavailable is how long a caller is asked to wait for a part of Gatehouse that cannot be reached: about as long
// as a connection attempt and its back-off take.
const retryUnavailable = time.Second

// Internal is a fault of Gatehouse itself. The cause goes to the log only.
func Internal(cause error) *Error {
	return newError(codes.Internal, gatehousev1.ErrorReason_ERROR_REASON_INTERNAL,
		"an internal error happened; the log tells more under the request id", cause)
}

// Unavailable is a service, database or cache that cannot be reached.
func Unavailable(cause error) *Error {
	return newError(codes.Unavailable, gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE,
		"a part of the service cannot be reached now", cause).withRetry(retryUnavailable)
}

// DeadlineExceeded is a call that was not answered in time.
func DeadlineExceeded(cause error) *Error {
	return newError(codes.DeadlineExceeded, gatehousev1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED,
		"the call was not answered within its deadline", cause)
}

// Cancelled is a call whose caller went away.
func Cancelled(cause error) *Error {
	return newError(codes.Canceled, gatehousev1.ErrorReason_ERROR_REASON_CANCELLED, "the call was cancelled", cause)
}

// Overloaded is work that is not taken on now. The caller is asked to come back after the time given.
func Overloaded(retryAfter time.Duration) *Error {
	return newError(codes.ResourceExhausted, gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED,
		"too much of this work is under way", nil).withRetry(retryAfter)
}

// TooManyChanges is a change of a user who made too many just before.
func TooManyChanges(retryAfter time.Duration) *Error {
	return newError(codes.ResourceExhausted, gatehousev1.ErrorReason_ERROR_REASON_TOO_MANY_CHANGES,
		"the account was changed too often within a short time", nil).withRetry(retryAfter)
}

// MalformedRequest is a request that cannot be read. The message must say what is wrong without quoting the request,
// which may hold a password.
func MalformedRequest(message string, cause error) *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, message, cause)
}

// MalformedFields is a request that cannot be read because of the fields named, if any could be found: at most 16.
func MalformedFields(violations []*errdetails.BadRequest_FieldViolation) *Error {
	const message = "a part of the request is not what the contract says"
	if len(violations) == 0 {
		return MalformedRequest(message, nil)
	}
	return MalformedRequest(message, nil).withViolations(message+"; the details name the first fields", violations)
}

// InvalidFields is a request that breaks rules of the contract. At most 16 violations are named.
func InvalidFields(violations []*errdetails.BadRequest_FieldViolation) *Error {
	const message = "the request breaks rules of the contract; the details name the "
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_INVALID_FIELDS, message+"fields", nil).
		withViolations(message+"first fields", violations)
}

// withViolations adds as many violations as a status may hold. If that is not all of them, the message says so.
func (e *Error) withViolations(messageIfCut string, all []*errdetails.BadRequest_FieldViolation) *Error {
	named := boundViolations(all)
	if len(named) < len(all) {
		e.message = messageIfCut
	}
	e.details = append(e.details, protoadapt.MessageV1Of(&errdetails.BadRequest{FieldViolations: named}))
	return e
}

// RequestTooLarge is a request over the limit of its method.
func RequestTooLarge(cause error) *Error {
	return newError(codes.ResourceExhausted, gatehousev1.ErrorReason_ERROR_REASON_REQUEST_TOO_LARGE,
		"the request is larger than its method accepts", cause)
}

// UnsupportedMediaType is a REST body that is not JSON.
func UnsupportedMediaType() *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
		"the body must be JSON: send Content-Type: application/json", nil)
}

// RouteNotFound is an RPC or a REST route that does not exist.
func RouteNotFound(message string) *Error {
	return newError(codes.Unimplemented, gatehousev1.ErrorReason_ERROR_REASON_ROUTE_NOT_FOUND, message, nil)
}

// MethodNotAllowed is a REST route that exists for other HTTP methods.
func MethodNotAllowed(message string) *Error {
	return newError(codes.Unimplemented, gatehousev1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED, message, nil)
}

// AccessTokenMissing is a call without a token to a method that wants one.
func AccessTokenMissing() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_MISSING,
		"an access token is wanted: send authorization: Bearer …", nil)
}

// AccessTokenInvalid is a token that this system did not issue, or not for this use. The cause goes to the log only: a
// forger is not told what to mend.
func AccessTokenInvalid(cause error) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_INVALID,
		"the access token is not valid", cause)
}

// AccessTokenExpired is a token that was good.
func AccessTokenExpired() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED,
		"the access token has expired", nil)
}

// InvalidCredentials is an unknown address or a wrong password, and does not tell which.
func InvalidCredentials() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_INVALID_CREDENTIALS,
		"the e-mail address or the password is wrong", nil)
}

// SessionEnded is a token of a session that was ended. Session and user are named where the end was seen: whoever keeps
// the session in a cache learns of it by this. Empty ones are left out.
func SessionEnded(sessionID, userID string) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED,
		"the session has ended: log in again", nil).of(sessionID, userID)
}

// SessionExpired is a token of a session that was not refreshed in time, or has reached its greatest age.
func SessionExpired() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED,
		"the session has expired: log in again", nil)
}

// RefreshTokenInvalid is a refresh token that this system did not issue. The cause goes to the log only.
func RefreshTokenInvalid(cause error) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_INVALID,
		"the refresh token is not valid", cause)
}

// RefreshTokenReused is a refresh token that shows that two hold the session, which has ended by it.
func RefreshTokenReused(sessionID, userID string) *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_REUSED,
		"the refresh token was traded before: the session has ended, as somebody else may have it; log in again", nil).
		of(sessionID, userID)
}

// RoleRequired is a call, or a field of one, that is for admins only.
func RoleRequired() *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED,
		"this is for callers with the role admin", nil)
}

// PasswordWrong is a wrong present password of a caller who is logged in.
func PasswordWrong() *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_PASSWORD_WRONG,
		"the present password is wrong", nil)
}

// PageTokenInvalid is a page token of another list, of another caller, or of nobody.
func PageTokenInvalid(cause error) *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID,
		"the page token is not one of this list", cause)
}

// EmailTaken is a sign-up with the address of an account that exists.
func EmailTaken() *Error {
	return newError(codes.AlreadyExists, gatehousev1.ErrorReason_ERROR_REASON_EMAIL_TAKEN,
		"an account with this e-mail address exists already", nil)
}

// UserNotFound is a user who does not exist, or not for this caller.
func UserNotFound() *Error {
	return newError(codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND, "there is no such user", nil)
}

// SessionNotFound is a session that does not exist, or not for this caller.
func SessionNotFound() *Error {
	return newError(codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND,
		"there is no such session", nil)
}

// UserDisabled is a log-in with the right password to an account that cannot be used.
func UserDisabled() *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_USER_DISABLED,
		"the account is disabled", nil)
}

// VersionMismatch is a change that was meant for another version.
func VersionMismatch() *Error {
	return newError(codes.Aborted, gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH,
		"the entry was changed since the version named: read it again", nil)
}

// UnknownEntityTag is a change that was meant for an entity tag which no version has.
func UnknownEntityTag() *Error {
	return newError(codes.Aborted, gatehousev1.ErrorReason_ERROR_REASON_VERSION_MISMATCH,
		`If-Match has no entity tag of this API, which are as "7": send the ETag of the last answer as it is`, nil)
}

// RequestIDReused is a request id that stands for another request.
func RequestIDReused() *Error {
	return newError(codes.InvalidArgument, gatehousev1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED,
		"the request id was used for another request", nil)
}

// RecentLoginRequired is a call that wants a session which was opened just now.
func RecentLoginRequired() *Error {
	return newError(codes.FailedPrecondition, gatehousev1.ErrorReason_ERROR_REASON_RECENT_LOGIN_REQUIRED,
		"this wants a session that was opened no more than 10 minutes ago: log in again", nil)
}

// LastAdmin is a change that would leave no admin who can log in.
func LastAdmin() *Error {
	return newError(codes.FailedPrecondition, gatehousev1.ErrorReason_ERROR_REASON_LAST_ADMIN,
		"this would leave no administrator who can log in", nil)
}

// OwnAccount is a call about the caller's own account that is for the accounts of others only.
func OwnAccount(instead string) *Error {
	return newError(codes.PermissionDenied, gatehousev1.ErrorReason_ERROR_REASON_OWN_ACCOUNT,
		"this is for the accounts of others: for your own use "+instead, nil)
}

// ServiceCredentialInvalid is a call at a port for services whose sender did not prove that it is one, or that may not
// call the method.
func ServiceCredentialInvalid() *Error {
	return newError(codes.Unauthenticated, gatehousev1.ErrorReason_ERROR_REASON_SERVICE_CREDENTIAL_INVALID,
		"this port is for services of Gatehouse: the service credential is missing, wrong, or does not allow the call", nil)
}
