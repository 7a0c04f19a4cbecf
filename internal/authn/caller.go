// Package authn authenticates callers: it reads the policy of each method from the contract, verifies access tokens
// with public keys only, and puts the caller into the context. No code here can make a token.
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

// Caller is the user that a verified access token was issued to, with the other claims of the token.
type Caller struct {
	UserID     string
	SessionID  string
	Roles      []string
	TokenID    string // `jti`
	Issuer     string
	Audience   string    // the one that the verifier requires
	AuthTime   time.Time // when the user logged in, in whole seconds; zero if the token does not have it
	IssueTime  time.Time
	ExpireTime time.Time // of the token, not of the session
}

type contextKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, caller Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, caller)
}

// CallerFrom returns the caller, and false if the method's policy does not require one.
func CallerFrom(ctx context.Context) (Caller, bool) {
	caller, ok := ctx.Value(contextKey{}).(Caller)
	return caller, ok
}

// RoleAdmin is the role of administrators.
const RoleAdmin = "admin"

// RoleUser is the role that every user has.
const RoleUser = "user"

// IsAdmin reports whether the caller has the role admin: by the token, and where accounts are loaded by the account
// too, so that a role which was revoked does not live on in tokens.
func IsAdmin(ctx context.Context) bool {
	caller, ok := CallerFrom(ctx)
	if !ok || !slices.Contains(caller.Roles, RoleAdmin) {
		return false
	}
	account, loaded := AccountFrom(ctx)
	return !loaded || slices.Contains(account.User.GetRoles(), RoleAdmin)
}

// OwnUserID resolves the user id of a request, which must be that of the caller. It returns USER_NOT_FOUND for any
// other id, whether there is such a user or not.
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

// ManagedUserID resolves the user id of a request to a user whom the caller may read and change: admins any user,
// others only themselves. It does not check that the user exists.
func ManagedUserID(ctx context.Context, id string) (string, error) {
	own, err := OwnUserID(ctx, id)
	if err != nil && IsAdmin(ctx) {
		return strings.ToLower(id), nil
	}
	return own, err
}

// ReadableSessionID resolves the session id of a request. It does not check that the session is one of the caller's.
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
