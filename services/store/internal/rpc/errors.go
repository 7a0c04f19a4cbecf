package rpc

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/changefeed"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// followersRetry is how long a follower waits if the store has too many.
const followersRetry = time.Second

// apiError returns the error of the contract for an error of the domain or of storage. An unknown one is INTERNAL.
func apiError(err error) error {
	if refusal, ok := errors.AsType[login.Refusal](err); ok {
		return refusalError(refusal, err)
	}
	if ended, ok := errors.AsType[*account.SessionEndedError](err); ok {
		return apierr.SessionEnded(ended.SessionID, ended.UserID)
	}
	if reused, ok := errors.AsType[*login.TokenReusedError](err); ok {
		return apierr.RefreshTokenReused(reused.SessionID, reused.UserID)
	}
	if overloaded, ok := errors.AsType[*password.OverloadedError](err); ok {
		return apierr.Overloaded(overloaded.RetryAfter)
	}
	if limited, ok := errors.AsType[*storage.TooManyChangesError](err); ok {
		return apierr.TooManyChanges(limited.RetryAfter)
	}
	switch {
	case errors.Is(err, changefeed.ErrTooManyFollowers):
		return apierr.Overloaded(followersRetry)
	case errors.Is(err, account.ErrSessionExpired):
		return apierr.SessionExpired()
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, changefeed.ErrReset):
		return apierr.Unavailable(err)
	default:
		return err
	}
}

func refusalError(refusal login.Refusal, cause error) error {
	switch refusal {
	case login.InvalidCredentials:
		return apierr.InvalidCredentials()
	case login.UserDisabled:
		return apierr.UserDisabled()
	case login.PasswordWrong:
		return apierr.PasswordWrong()
	case login.RefreshTokenInvalid:
		return apierr.RefreshTokenInvalid(cause)
	default:
		return cause
	}
}

// userError returns the error of the contract for an error of a call that names a user.
func userError(err error) error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return apierr.UserNotFound()
	case errors.Is(err, storage.ErrLastAdmin):
		return apierr.LastAdmin()
	default:
		return apiError(err)
	}
}

// invalidFields returns INVALID_FIELDS, or nil if there is no violation.
func invalidFields(found ...field.Violation) error {
	if len(found) == 0 {
		return nil
	}
	violations := make([]*errdetails.BadRequest_FieldViolation, 0, len(found))
	for _, violation := range found {
		violations = append(violations, &errdetails.BadRequest_FieldViolation{
			Field: violation.Field, Reason: violation.Reason, Description: violation.Description,
		})
	}
	return apierr.InvalidFields(violations)
}
