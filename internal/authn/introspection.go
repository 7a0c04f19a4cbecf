package authn

import (
	"context"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// Introspect answers ReadSession about the session and the token of the call, by what the caller was admitted with. The
// session is a copy: the account is shared with other calls.
func Introspect(ctx context.Context) (*gatehousev1.ReadSessionResponse, error) {
	caller, known := CallerFrom(ctx)
	account, loaded := AccountFrom(ctx)
	if !known || !loaded {
		return nil, apierr.AccessTokenMissing()
	}
	session := proto.CloneOf(account.Session)
	session.Current = true
	session = ShowSession(ctx, session)
	return &gatehousev1.ReadSessionResponse{
		Session: session, User: account.User, Active: true,
		Sub: caller.UserID, TokenType: "Bearer", Roles: held(caller.Roles, account),
		Iss: stated(caller.Issuer), Aud: stated(caller.Audience), Jti: stated(caller.TokenID),
		Iat: seconds(caller.IssueTime), Exp: seconds(caller.ExpireTime),
	}, nil
}

// ShowSession returns a session as an answer to the caller shows it. A cache service, which ranks what it stores by the
// version, gets all of it. Anybody else could tell by the version, and by the times of the session that the call is
// made with, when the owner of a copied token refreshes, and present the copy right after that.
func ShowSession(ctx context.Context, session *gatehousev1.Session) *gatehousev1.Session {
	if session == nil || PeerFrom(ctx) == PeerCache {
		return session
	}
	session = proto.CloneOf(session)
	session.Version = 0
	if session.GetCurrent() {
		session.LastUseTime, session.ExpireTime = nil, nil
	}
	return session
}

// held are the roles of the token but for one that the account has lost since: who asks about a token relies on them.
func held(roles []string, account Account) []string {
	if slices.Contains(account.User.GetRoles(), RoleAdmin) {
		return roles
	}
	return slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return role == RoleAdmin })
}

// stated is nil for what the token does not say.
func stated(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// seconds is nil for a time that the token does not say, or that the contract has no number for.
func seconds(at time.Time) *uint32 {
	unix := at.Unix()
	if at.IsZero() || unix < 0 || unix > math.MaxUint32 {
		return nil
	}
	return new(uint32(unix))
}
