package cache

import (
	"context"

	"google.golang.org/grpc"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/coherence"
)

// subject is what a change is about: a user, and the one session that it ends or spares. Unknown ids are empty.
type subject struct{ userID, sessionID string }

// rpcMethod is a method of a client of the store.
type rpcMethod[Request, Response any] func(context.Context, Request, ...grpc.CallOption) (Response, error)

// commit makes a change at the store, and updates the cache before it returns: with store, if the change was made, else
// according to the error. The change continues after its caller has given up: what the store has committed must
// reach the cache.
func commit[Request, Response any](
	ctx context.Context, entries *coherence.Entries, about subject, change rpcMethod[Request, Response], req Request,
	store func(coherence.Lease, Response),
) (none Response, err error) {
	lease := entries.AcquireLease()
	uncancelled, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadlines.Commit)
	defer cancel()
	response, err := change(uncancelled, req)
	if err != nil {
		entries.OnChangeError(ctx, err, about.userID, about.sessionID)
		return none, err
	}
	store(lease, response)
	return response, nil
}

// manage changes a user whom the caller may change, and caches the user in the response.
func manage[Request any, Response interface{ GetUser() *gatehousev1.User }](
	ctx context.Context, entries *coherence.Entries, id string, change rpcMethod[Request, Response], req Request,
) (none Response, err error) {
	id, err = authn.ManagedUserID(ctx, id)
	if err != nil {
		return none, err
	}
	return commit(ctx, entries, subject{userID: id}, change, req, func(lease coherence.Lease, response Response) {
		entries.Change(ctx, lease, response.GetUser(), nil)
	})
}
