package rest

import (
	"net/http"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// limitCalls counts the requests until their answers are sent.
func limitCalls(calls *edge.Calls, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		release, err := calls.Acquire(r.Context())
		if err != nil {
			writeRefusal(calls, w, r, err)
			return
		}
		defer release()
		next.ServeHTTP(w, r)
		flush(w, r)
	})
}

func writeRefusal(calls *edge.Calls, w http.ResponseWriter, r *http.Request, err error) {
	release, ok := calls.Refusals.Acquire(edge.ClientKey(r.Context()), 1)
	if !ok {
		panic(http.ErrAbortHandler) // Resets the stream.
	}
	defer release()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	reply.Error(w, r, err)
	flush(w, r)
}

// flush sends all of an answer over HTTP/2. Otherwise net/http sends the last part of it after the handler has
// returned, and a client could let each of the hundred streams of a connection wait for a flow-control window,
// uncounted. It returns after deadlines.Request at the latest.
func flush(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor > 1 {
		_ = http.NewResponseController(w).Flush() // It fails if the client has gone.
	}
}

// limitHeaders rejects requests with too many bytes of header fields. They count as calls under way, as the client may
// not read the refusal.
func limitHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := edge.CheckHeaderSize(r.Header, len(r.Method)+len(r.RequestURI)+len(r.Host)); err != nil {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			reply.ErrorAs(w, r, err, http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}
