package reply

import (
	"context"
	"net/http"
)

// Record collects what the log line of a request needs and only its handlers know. The context of the request carries
// it, so that any middleware may wrap the http.ResponseWriter.
type Record struct {
	Route string // a pattern, never the path itself
	Err   error  // that was answered; nil for none
}

type recordKey struct{}

// WithRecord returns a context that carries the record of a request.
func WithRecord(ctx context.Context, record *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, record)
}

// SetRoute sets the route of a request in its record.
func SetRoute(r *http.Request, route string) {
	if record, ok := r.Context().Value(recordKey{}).(*Record); ok {
		record.Route = route
	}
}

func setError(r *http.Request, err error) {
	if record, ok := r.Context().Value(recordKey{}).(*Record); ok {
		record.Err = err
	}
}
