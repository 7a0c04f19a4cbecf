// Package audit identifies the actor and the client of a request, for the events that record it. Package storage writes
// the events, in the transaction of the change that they record.
package audit

import (
	"context"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
)

// Actors that are not users.
const (
	Operator = "operator" // a command that runs at the database
	System   = "system"   // Gatehouse itself
)

// Origin is the actor of an event and the client that the actor uses.
type Origin struct {
	Actor         string // the id of a user, Operator, System, or "" for a caller that is not logged in
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
