// Package requestid carries the id by which one request can be found in the log of every service it passed.
package requestid

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/redact"
)

// Header is the name of the id in HTTP headers and gRPC metadata.
const Header = "x-request-id"

// maxLength bounds what a client may have us log, in bytes.
const maxLength = 128

type contextKey struct{}

// FromContext gives the request's id, or "" outside a request.
func FromContext(ctx context.Context) string {
	id, _ := ctx.Value(contextKey{}).(string)
	return id
}

// WithID gives a context that carries the id taken from a client, or a new one if the client's is missing or is
// anything that a log reader could mistake for something else.
func WithID(ctx context.Context, fromClient string) context.Context {
	if !valid(fromClient) {
		fromClient = uuid.Must(uuid.NewV7()).String()
	}
	return context.WithValue(ctx, contextKey{}, fromClient)
}

// FromIncoming gives a context that carries the id of the incoming gRPC metadata, or a new one.
func FromIncoming(ctx context.Context) context.Context {
	var fromClient string
	if values := metadata.ValueFromIncomingContext(ctx, Header); len(values) > 0 {
		fromClient = values[0]
	}
	return WithID(ctx, fromClient)
}

func valid(id string) bool {
	if id == "" || len(id) > maxLength || redact.String(id) != id { // Ids are logged, and returned to whoever asks.
		return false
	}
	for _, c := range []byte(id) {
		letterOrDigit := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letterOrDigit && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
