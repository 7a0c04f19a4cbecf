package authn_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

func TestIntrospect(t *testing.T) {
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
	current.Current, current.Version = true, 0
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

// A resource server grants the bearer of a token what the roles allow.
func TestIntrospectOmitsRemovedRoles(t *testing.T) {
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

func TestIntrospectMissingClaims(t *testing.T) {
	account := authn.Account{User: &gatehousev1.User{}, Session: &gatehousev1.Session{}}
	for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Unix(1<<32, 0)} {
		caller := authn.Caller{UserID: userID, SessionID: session, IssueTime: at, ExpireTime: at}
		got, err := authn.Introspect(authn.WithAccount(authn.WithCaller(t.Context(), caller), account))
		if err != nil || got.Iss != nil || got.Aud != nil || got.Jti != nil || got.Iat != nil || got.Exp != nil {
			t.Errorf("introspect at %s: %v, error %v", at, got, err)
		}
	}
}

func TestIntrospectWithoutCaller(t *testing.T) {
	_, err := authn.Introspect(t.Context())
	wantReason(t, err, missing)
	_, err = authn.Introspect(authn.WithCaller(t.Context(), authn.Caller{UserID: userID}))
	wantReason(t, err, missing)
	_, err = authn.Introspect(authn.WithAccount(t.Context(), authn.Account{}))
	wantReason(t, err, missing)
}

func TestShowSession(t *testing.T) {
	full := func(current bool) *gatehousev1.Session {
		return &gatehousev1.Session{
			Id: session, Version: 7, Current: current, ClientAddress: "192.0.2.1",
			LastUseTime: timestamppb.New(time.Unix(1, 0)), ExpireTime: timestamppb.New(time.Unix(2, 0)),
		}
	}
	bare := &gatehousev1.Session{Id: session, Current: true, ClientAddress: "192.0.2.1"}
	other := full(false)
	other.Version = 0
	for name, test := range map[string]struct {
		peer    authn.Peer
		current bool
		want    *gatehousev1.Session
	}{
		"a cache":              {authn.PeerCache, true, full(true)},
		"a gateway":            {authn.PeerGateway, true, bare},
		"nobody that is known": {"", true, bare},
		"another session":      {authn.PeerGateway, false, other},
	} {
		given := full(test.current)
		got := authn.ShowSession(authn.WithPeer(t.Context(), test.peer), given)
		if !proto.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
		if !proto.Equal(given, full(test.current)) {
			t.Errorf("%s: the session, which others share, was changed", name)
		}
	}
	if authn.ShowSession(t.Context(), nil) != nil {
		t.Error("there is a session where there was none")
	}
}
