package authn_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func accountUntil(expires time.Time, generation, users int64) authn.Account {
	return authn.Account{
		User: &gatehousev1.User{Id: userID, SessionGeneration: users},
		Session: &gatehousev1.Session{
			Id: session, UserId: userID, Generation: generation, ExpireTime: timestamppb.New(expires),
		},
	}
}

func TestCheckActive(t *testing.T) {
	const (
		active      = gatehousev1.UserState_USER_STATE_ACTIVE
		disabled    = gatehousev1.UserState_USER_STATE_DISABLED
		unspecified = gatehousev1.UserState_USER_STATE_UNSPECIFIED
	)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	inState := func(state gatehousev1.UserState) authn.Account {
		account := accountUntil(now.Add(1), 2, 2)
		account.User.State = state
		return account
	}
	for name, test := range map[string]struct {
		account authn.Account
		want    gatehousev1.ErrorReason
	}{
		"it stands":                {accountUntil(now.Add(1), 2, 2), gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED},
		"the user was read before": {accountUntil(now.Add(1), 3, 2), gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED},
		"all were ended":           {accountUntil(now.Add(1), 1, 2), gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED},
		"it expires now":           {accountUntil(now, 2, 2), gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED},
		"it has expired":           {accountUntil(now.Add(-1), 2, 2), gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED},
		"ended, and expired since": {accountUntil(now.Add(-1), 1, 2), gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED},
		"the user is active":       {inState(active), gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED},
		"no state was kept":        {inState(unspecified), gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED},
		"the user is disabled":     {inState(disabled), gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED},
		"the state is a later one": {inState(99), gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED},
		"nothing is known of it":   {authn.Account{}, gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED},
		"nothing of when it expires": {
			authn.Account{Session: &gatehousev1.Session{Id: session}}, gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED,
		},
	} {
		if got := apierr.ReasonOf(apierr.Status(test.account.CheckActive(now))); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// A cache keeps it for good that a session that is named has ended. By the state of the user alone none has: that may be
// from before the account was enabled, and the session from after.
func TestAccountCheckActiveNamesFinalEnd(t *testing.T) {
	now := time.Now()
	ended, disabled := accountUntil(now.Add(time.Hour), 1, 2), accountUntil(now.Add(time.Hour), 2, 2)
	ended.User.State = gatehousev1.UserState_USER_STATE_DISABLED
	disabled.User.State = gatehousev1.UserState_USER_STATE_DISABLED
	if id, owner := apierr.EndedSession(apierr.Status(ended.CheckActive(now))); id != session || owner != userID {
		t.Errorf("a session of an older generation is named %q of %q", id, owner)
	}
	if id, owner := apierr.EndedSession(apierr.Status(disabled.CheckActive(now))); id != "" || owner != "" {
		t.Errorf("a session of this generation is named %q of %q", id, owner)
	}
}

func TestAccountMatches(t *testing.T) {
	now := time.Now()
	caller := authn.Caller{UserID: userID, SessionID: session}
	if !accountUntil(now, 0, 0).Matches(caller) {
		t.Error("the caller's own account is not")
	}
	otherUser, otherSession, otherOwner := accountUntil(now, 0, 0), accountUntil(now, 0, 0), accountUntil(now, 0, 0)
	otherUser.User.Id, otherSession.Session.Id, otherOwner.Session.UserId = "other", "other", "other"
	for i, account := range []authn.Account{
		otherUser, otherSession, otherOwner, {}, {User: otherSession.User}, {Session: otherUser.Session},
	} {
		if account.Matches(caller) {
			t.Errorf("account %d is the caller's", i)
		}
	}
	if (authn.Account{}).Matches(authn.Caller{}) {
		t.Error("nobody has an account")
	}
}

func TestAdmitWithAccount(t *testing.T) {
	h := newTestEnv(t)
	policies, err := authn.LoadPolicies(services...)
	if err != nil {
		t.Fatal(err)
	}
	account, refusal := accountUntil(h.clock.Now(), 0, 0), error(nil)
	authenticator := authn.NewAuthenticator(policies, h.Verifier,
		func(_ context.Context, caller authn.Caller) (authn.Account, error) {
			if caller.SessionID != session || caller.UserID != userID {
				t.Errorf("asked for %+v", caller)
			}
			return account, refusal
		})
	ctx, err := authenticator.Admit(incoming(t, "Bearer "+h.edDSA.token(t, h.claims())), readUser)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := authn.AccountFrom(ctx); !ok || got != account {
		t.Errorf("the context has %v, %v", got, ok)
	}
	refusal = apierr.SessionEnded("", "")
	ctx, err = authenticator.Admit(incoming(t, "Bearer "+h.edDSA.token(t, h.claims())), readUser)
	if !errors.Is(err, refusal) {
		t.Errorf("error is %v", err)
	}
	if _, ok := authn.AccountFrom(ctx); ok {
		t.Error("one who is refused has an account")
	}
	if _, err := authenticator.Admit(incoming(t, "Bearer no token"), createUser); err != nil {
		t.Errorf("a public method: %v", err)
	}
}
