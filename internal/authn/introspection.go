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

// Introspect returns the response of ReadSession about the session and the token of the call, as the caller was
// admitted with them. The session is a copy: the account is shared with other calls.
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
		Sub: caller.UserID, TokenType: "Bearer", Roles: effectiveRoles(caller.Roles, account),
		Iss: optional(caller.Issuer), Aud: optional(caller.Audience), Jti: optional(caller.TokenID),
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

// effectiveRoles returns the roles of the token except the role admin if the account has lost it since: resource
// servers rely on them.
func effectiveRoles(roles []string, account Account) []string {
	if slices.Contains(account.User.GetRoles(), RoleAdmin) {
		return roles
	}
	return slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return role == RoleAdmin })
}

// optional returns nil for a claim that the token does not have.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// seconds returns nil for a time that the token does not have, or that does not fit into the field of the contract.
func seconds(at time.Time) *uint32 {
	unix := at.Unix()
	if at.IsZero() || unix < 0 || unix > math.MaxUint32 {
		return nil
	}
	return new(uint32(unix))
}
