package authn_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

func TestIntrospectTellsAllOfTheCall(t *testing.T) {
	account := authn.Account{
		User:    &gatehousev1.User{Id: userID, Email: "ada@example.com", Version: 3},
		Session: &gatehousev1.Session{Id: session, UserId: userID, Version: 2},
	}
	caller := authn.Caller{
		UserID: userID, SessionID: session, Roles: []string{"user"}, TokenID: "token", Issuer: issuer, Audience: audience,
		IssueTime: time.Unix(1_795_000_000, 0), ExpireTime: time.Unix(1_795_000_900, 0),
	}
	ctx := authn.WithAccount(authn.WithCaller(t.Context(), caller), account)
	got, err := authn.Introspect(ctx)
	current := proto.CloneOf(account.Session)
	current.Current = true
	want := &gatehousev1.ReadSessionResponse{
		Session: current, User: account.User, Active: true, Sub: userID, TokenType: "Bearer",
		Iss: new(issuer), Aud: new(audience), Jti: new("token"), Roles: []string{"user"},
		Iat: new(uint32(1_795_000_000)), Exp: new(uint32(1_795_000_900)),
	}
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("introspect: %v, error %v, want %v", got, err, want)
	}
	if account.Session.GetCurrent() {
		t.Error("the account, which others share, was changed")
	}
}

// Whoever asks about a token lets its bearer do what the roles allow.
func TestIntrospectTellsNoRoleThatWasTakenAway(t *testing.T) {
	for _, test := range []struct{ token, account, want []string }{
		{[]string{"admin", "user"}, []string{"admin", "user"}, []string{"admin", "user"}},
		{[]string{"admin", "user"}, []string{"user"}, []string{"user"}},
		{[]string{"admin", "user"}, nil, []string{"user"}},
		{[]string{"user"}, []string{"admin", "user"}, []string{"user"}},
		{[]string{"user"}, nil, []string{"user"}},
	} {
		account := authn.Account{User: &gatehousev1.User{Roles: test.account}, Session: &gatehousev1.Session{}}
		caller := authn.Caller{UserID: userID, Roles: slices.Clone(test.token)}
		got, err := authn.Introspect(authn.WithAccount(authn.WithCaller(t.Context(), caller), account))
		if err != nil || !slices.Equal(got.GetRoles(), test.want) {
			t.Errorf("token %q, account %q: %q, error %v, want %q", test.token, test.account, got.GetRoles(), err, test.want)
		}
		if !slices.Equal(caller.Roles, test.token) {
			t.Errorf("the caller, whom others share, was changed to %q", caller.Roles)
		}
	}
}

func TestIntrospectLeavesOutWhatTheTokenDoesNotSay(t *testing.T) {
	account := authn.Account{User: &gatehousev1.User{}, Session: &gatehousev1.Session{}}
	for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Unix(1<<32, 0)} {
		caller := authn.Caller{UserID: userID, SessionID: session, IssueTime: at, ExpireTime: at}
		got, err := authn.Introspect(authn.WithAccount(authn.WithCaller(t.Context(), caller), account))
		if err != nil || got.Iss != nil || got.Aud != nil || got.Jti != nil || got.Iat != nil || got.Exp != nil {
			t.Errorf("introspect at %s: %v, error %v", at, got, err)
		}
	}
}

func TestIntrospectWantsACallerAndAnAccount(t *testing.T) {
	_, err := authn.Introspect(t.Context())
	wantReason(t, err, missing)
	_, err = authn.Introspect(authn.WithCaller(t.Context(), authn.Caller{UserID: userID}))
	wantReason(t, err, missing)
	_, err = authn.Introspect(authn.WithAccount(t.Context(), authn.Account{}))
	wantReason(t, err, missing)
}
