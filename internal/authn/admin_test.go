package authn_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/authn"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	listUsers    = "/gatehouse.v1.UserService/ListUsers"
	roleRequired = gatehousev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED
	admitted     = gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED
)

var (
	asAdmin = []string{authn.RoleAdmin, authn.RoleUser}
	asUser  = []string{authn.RoleUser}
)

// A role has to be in the token, and where accounts are loaded, in the account as it is now.
func TestAdmitAdmin(t *testing.T) {
	h := newTestEnv(t)
	policies, err := authn.LoadPolicies(services...)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		token    []string
		account  []string
		unloaded bool
		want     gatehousev1.ErrorReason
	}{
		"token and account":               {asAdmin, asAdmin, false, admitted},
		"the account has lost it":         {asAdmin, asUser, false, roleRequired},
		"the account has none at all":     {asAdmin, nil, false, roleRequired},
		"the token is from before":        {asUser, asAdmin, false, roleRequired},
		"neither":                         {asUser, asUser, false, roleRequired},
		"a role that looks like it":       {[]string{"Admin", "admin ", "administrator"}, asAdmin, false, roleRequired},
		"the token, without accounts":     {asAdmin, nil, true, admitted},
		"another token, without accounts": {asUser, nil, true, roleRequired},
		"no roles, without accounts":      {[]string{}, nil, true, roleRequired},
	} {
		t.Run(name, func(t *testing.T) {
			load := func(context.Context, authn.Caller) (authn.Account, error) {
				account := accountUntil(h.clock.Now(), 0, 0)
				account.User.Roles = test.account
				return account, nil
			}
			if test.unloaded {
				load = nil
			}
			token := h.edDSA.token(t, with(h.claims(), "roles", test.token))
			authenticator := authn.NewAuthenticator(policies, h.Verifier, load)
			ctx, err := authenticator.Admit(incoming(t, "Bearer "+token), listUsers)
			if is := authn.IsAdmin(ctx); is != (test.want == admitted) {
				t.Errorf("IsAdmin = %t", is)
			}
			if test.want != admitted {
				wantReason(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
			if _, err := authenticator.Admit(incoming(t, "Bearer "+token), readUser); err != nil {
				t.Errorf("a method for everybody: %v", err)
			}
		})
	}
}

func TestIsAdminWithoutCaller(t *testing.T) {
	authenticator := newAuthenticator(t, newTestEnv(t))
	ctx, err := authenticator.Admit(incoming(t), listUsers)
	wantReason(t, err, missing)
	_, err = authenticator.Admit(incoming(t, "Bearer nonsense"), listUsers)
	wantReason(t, err, invalid)
	if authn.IsAdmin(ctx) || authn.IsAdmin(authn.WithAccount(t.Context(), accountOf(asAdmin))) {
		t.Error("one without a token is an admin")
	}
}

// An error of the account comes before the lack of a role: it is no business of one whose session has ended.
func TestRoleErrorRequiresActiveSession(t *testing.T) {
	h := newTestEnv(t)
	policies, err := authn.LoadPolicies(services...)
	if err != nil {
		t.Fatal(err)
	}
	authenticator := authn.NewAuthenticator(policies, h.Verifier,
		func(context.Context, authn.Caller) (authn.Account, error) {
			return authn.Account{}, accountUntil(h.clock.Now(), 1, 2).CheckActive(h.clock.Now())
		})
	_, err = authenticator.Admit(incoming(t, "Bearer "+h.edDSA.token(t, h.claims())), listUsers)
	wantReason(t, err, gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED)
}

func accountOf(roles []string) authn.Account {
	return authn.Account{User: &gatehousev1.User{Id: userID, Roles: roles}}
}

func TestManagedUserID(t *testing.T) {
	const other = "01970E2C-6F3A-7C41-9D1B-000000000000"
	notFound := gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND
	for name, test := range map[string]struct {
		token   []string
		account []string
		want    gatehousev1.ErrorReason // to the id of another
	}{
		"an admin":        {asAdmin, asAdmin, admitted},
		"no admin":        {asUser, asUser, notFound},
		"no admin now":    {asAdmin, asUser, notFound},
		"no admin so far": {asUser, asAdmin, notFound},
	} {
		caller := authn.Caller{UserID: userID, SessionID: session, Roles: slices.Clone(test.token)}
		ctx := authn.WithAccount(authn.WithCaller(t.Context(), caller), accountOf(test.account))
		for _, id := range []string{authn.Me, userID, strings.ToUpper(userID)} {
			if got, err := authn.ManagedUserID(ctx, id); err != nil || got != userID {
				t.Errorf("%s: ManagedUserID(%q) = %q, %v", name, id, got, err)
			}
		}
		got, err := authn.ManagedUserID(ctx, other)
		switch {
		case test.want == admitted && (err != nil || got != strings.ToLower(other)):
			t.Errorf("%s: ManagedUserID(%q) = %q, %v", name, other, got, err)
		case test.want != admitted:
			wantReason(t, err, test.want)
		}
	}
	_, err := authn.ManagedUserID(t.Context(), other)
	wantReason(t, err, missing)
}

func TestOwnUserID(t *testing.T) {
	ctx := authn.WithCaller(t.Context(), authn.Caller{UserID: userID, SessionID: session})
	for _, id := range []string{authn.Me, userID, strings.ToUpper(userID)} {
		if got, err := authn.OwnUserID(ctx, id); err != nil || got != userID {
			t.Errorf("OwnUserID(%q) = %q, %v", id, got, err)
		}
	}
	for _, id := range []string{"", "ME", session, userID + " ", userID[:35]} {
		got, err := authn.OwnUserID(ctx, id)
		wantReason(t, err, gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND)
		if got != "" {
			t.Errorf("OwnUserID(%q) gives %q beside its error", id, got)
		}
	}
	_, err := authn.OwnUserID(t.Context(), authn.Me)
	wantReason(t, err, missing)
}
