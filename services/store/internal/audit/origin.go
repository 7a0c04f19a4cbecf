// Package audit identifies who does what the store is asked to do, for the events that are written with it. The events
// themselves are written by package storage, in the transaction of what they record.
package audit

import (
	"context"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

// Actors who are no users.
const (
	Operator = "operator" // somebody with a command at the database
	System   = "system"   // Gatehouse itself
)

// Origin is who does something, from where, with what.
type Origin struct {
	Actor         string // the id of a user, Operator, System, or "" for somebody who is not logged in
	SessionID     string // that the call is made with, or ""
	ClientAddress string // an IP address, or ""
	UserAgent     string // at most 256 bytes
	RequestID     string
}

type actorKey struct{}

// WithActor returns a context for what Operator or System does.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// OriginOf reads the origin of what is done under a context: of a call, or of what WithActor says.
func OriginOf(ctx context.Context) Origin {
	client := callctx.ClientFrom(ctx)
	caller, _ := authn.CallerFrom(ctx) // Nobody, where the policy is public.
	origin := Origin{
		Actor: caller.UserID, SessionID: caller.SessionID, ClientAddress: client.Address, UserAgent: client.UserAgent,
		RequestID: callctx.RequestID(ctx),
	}
	if actor, ok := ctx.Value(actorKey{}).(string); ok {
		origin.Actor = actor
	}
	return origin
}
