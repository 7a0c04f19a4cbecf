package authn

import (
	"context"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// Introspect tells of the token and the session that a call is made with, from what admission found out.
func Introspect(ctx context.Context) (*gatehousev1.ReadSessionResponse, error) {
	caller, known := CallerFrom(ctx)
	account, loaded := AccountFrom(ctx)
	if !known || !loaded {
		return nil, apierr.AccessTokenMissing()
	}
	session := proto.CloneOf(account.Session)
	session.Current = true
	return &gatehousev1.ReadSessionResponse{
		Session: session, User: account.User, Active: true, Sub: caller.UserID, TokenType: "Bearer",
		Iss: new(caller.Issuer), Aud: new(caller.Audience), Jti: new(caller.TokenID), Roles: caller.Roles,
		Iat: new(uint32(caller.IssueTime.Unix())), Exp: new(uint32(caller.ExpireTime.Unix())),
	}, nil
}
