// Package authn decides who calls: it reads the policy of each method from the contract, verifies access tokens with
// public keys only, and puts the caller into the context. No code here can make a token.
package authn

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// Me is the id by which callers name themselves.
const Me = "me"

// Current is the id by which callers name their own session.
const Current = "current"

// Caller is whoever a verified access token was issued to, and what else the token says.
type Caller struct {
	UserID     string
	SessionID  string
	Roles      []string
	TokenID    string // `jti`
	Issuer     string
	Audience   string    // the one that the verifier wants
	AuthTime   time.Time // when the user logged in, in whole seconds; zero if the token does not say
	IssueTime  time.Time
	ExpireTime time.Time // of the token, not of the session
}

type contextKey struct{}

// WithCaller gives a context that carries the caller.
func WithCaller(ctx context.Context, caller Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, caller)
}

// CallerFrom gives the caller, and false where the method's policy did not ask for one.
func CallerFrom(ctx context.Context) (Caller, bool) {
	caller, ok := ctx.Value(contextKey{}).(Caller)
	return caller, ok
}

// RoleAdmin is the role of administrators.
const RoleAdmin = "admin"

// RoleUser is the role that every user has.
const RoleUser = "user"

// IsAdmin tells whether the caller has the role admin: by the token, and where accounts are loaded by the account too,
// so that a role which was taken away does not live on in tokens.
func IsAdmin(ctx context.Context) bool {
	caller, ok := CallerFrom(ctx)
	if !ok || !slices.Contains(caller.Roles, RoleAdmin) {
		return false
	}
	account, loaded := AccountFrom(ctx)
	return !loaded || slices.Contains(account.User.GetRoles(), RoleAdmin)
}

// OwnUserID turns the id of a request into that of the caller. Anybody else answers as one who does not exist.
func OwnUserID(ctx context.Context, id string) (string, error) {
	caller, ok := CallerFrom(ctx)
	if !ok {
		return "", apierr.AccessTokenMissing()
	}
	if id == Me || strings.EqualFold(id, caller.UserID) {
		return caller.UserID, nil
	}
	return "", apierr.UserNotFound()
}

// ManagedUserID turns the id of a request into the id of a user whom the caller may read and change: admins anybody,
// others only themselves. Whether there is such a user is for the store to find out.
func ManagedUserID(ctx context.Context, id string) (string, error) {
	own, err := OwnUserID(ctx, id)
	if err != nil && IsAdmin(ctx) {
		return strings.ToLower(id), nil
	}
	return own, err
}

// ReadableSessionID turns the id of a request into that of a session; whether it is one of the caller's is for the
// store to find out.
func ReadableSessionID(ctx context.Context, id string) (string, error) {
	caller, ok := CallerFrom(ctx)
	if !ok {
		return "", apierr.AccessTokenMissing()
	}
	if id == Current {
		return caller.SessionID, nil
	}
	return strings.ToLower(id), nil
}
