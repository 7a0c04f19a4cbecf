package rpc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/changefeed"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

func TestAPIError(t *testing.T) {
	for want, err := range map[gatehousev1.ErrorReason]error{
		gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED:        &account.SessionEndedError{SessionID: "s", UserID: "u"},
		gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED:      account.ErrSessionExpired,
		gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_REUSED: &login.TokenReusedError{SessionID: "s", UserID: "u"},
		gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED:           &password.OverloadedError{RetryAfter: time.Second},
		gatehousev1.ErrorReason_ERROR_REASON_TOO_MANY_CHANGES:     &storage.TooManyChangesError{RetryAfter: time.Second},
		gatehousev1.ErrorReason_ERROR_REASON_UNAVAILABLE:          storage.ErrUnavailable,
		gatehousev1.ErrorReason_ERROR_REASON_INTERNAL:             errors.New("something else"),
	} {
		wrapped := fmt.Errorf("do something: %w", err)
		if got := apierr.ReasonOf(apierr.Status(apiError(wrapped))); got != want {
			t.Errorf("%v has the reason %v, want %v", err, got, want)
		}
	}
	if got := apierr.ReasonOf(apierr.Status(apiError(changefeed.ErrTooManyFollowers))); got.String() != "ERROR_REASON_OVERLOADED" {
		t.Errorf("too many followers have the reason %v", got)
	}
	if apiError(nil) != nil {
		t.Error("no error is one")
	}
	t.Run("a_refusal_has_the_reason_that_the_audit_names", func(t *testing.T) {
		for _, refusal := range []login.Refusal{
			login.InvalidCredentials, login.UserDisabled, login.PasswordWrong, login.RefreshTokenInvalid,
		} {
			reason := apierr.ReasonOf(apierr.Status(apiError(fmt.Errorf("%w: why", refusal))))
			if got := apierr.ReasonName(reason); got != string(refusal) {
				t.Errorf("%s has the reason %s", refusal, got)
			}
		}
	})
}

func TestRoles(t *testing.T) {
	if want := []string{authn.RoleAdmin, authn.RoleUser}; !slices.Equal(account.Roles(true), want) {
		t.Errorf("an admin has the roles %v, want %v", account.Roles(true), want)
	}
}
