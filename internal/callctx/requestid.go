package callctx

import (
	"context"

	"github.com/google/uuid"

	"github.com/gatehouse-auth/gatehouse/internal/redact"
)

// RequestIDHeader is the name of the request id in HTTP headers and gRPC metadata. By the id, one request is found in
// the log of every service that it passed.
const RequestIDHeader = "x-request-id"

// maxRequestID bounds a request id that a client sends, in bytes.
const maxRequestID = 128

type requestIDKey struct{}

// RequestID returns the id of the request, or "" outside a request.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// WithRequestID returns a context that carries the id that a client sent. If that is missing, or could mislead a reader
// of a log, the context carries a new one.
func WithRequestID(ctx context.Context, fromClient string) context.Context {
	if !isValidRequestID(fromClient) {
		fromClient = uuid.Must(uuid.NewV7()).String()
	}
	return context.WithValue(ctx, requestIDKey{}, fromClient)
}

func isValidRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID || redact.String(id) != id { // Ids are logged, and returned to the client.
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
