package login

import (
	"fmt"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// Refusal is why a call is refused, as the audit and the contract's ErrorReason name it. It is an error.
type Refusal string //nolint:errname // a reason, named as in the contract

// The refusals.
const (
	InvalidCredentials  Refusal = "INVALID_CREDENTIALS"   //nolint:errname,gosec // no credential: the name of a reason
	UserDisabled        Refusal = "USER_DISABLED"         //nolint:errname // as above
	PasswordWrong       Refusal = "PASSWORD_WRONG"        //nolint:errname // as above
	RefreshTokenInvalid Refusal = "REFRESH_TOKEN_INVALID" //nolint:errname // as above
)

// Error implements error.
func (r Refusal) Error() string { return string(r) }

// TokenReusedError reports a refresh token that was traded before by another client. Its session has ended.
type TokenReusedError struct{ SessionID, UserID string }

// Error implements error.
func (e *TokenReusedError) Error() string {
	return fmt.Sprintf("a refresh token of session %s was reused", e.SessionID)
}

// conflictError returns the error of a call that others have overtaken too often.
func conflictError(what string) error {
	return fmt.Errorf("%s: %w", what, storage.ErrUnavailable)
}
