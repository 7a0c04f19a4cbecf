package cache

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// witness is the connection to the store. Whatever was asked there: if the error says that a session has ended, the
// cache knows it before the caller does.
type witness struct {
	grpc.ClientConnInterface

	entries *entries
}

// Invoke implements grpc.ClientConnInterface.
func (w witness) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	err := w.ClientConnInterface.Invoke(ctx, method, args, reply, options...)
	if err == nil {
		return nil
	}
	if sessionID, userID := apierr.EndedSession(status.Convert(err)); sessionID != "" && userID != "" {
		w.entries.end(ctx, lease{}, userID, sessionID, nil)
	}
	return err
}
