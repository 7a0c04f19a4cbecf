package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// maxCalls bounds the calls that are under way, over both transports. A call is under way until its answer is sent.
	maxCalls = 8 << 10

	// callsPerClient bounds those of one client, over all its connections. Most calls take milliseconds, so that this is
	// enough for tens of thousands in a second.
	callsPerClient = 512

	// maxRefusals and refusalsPerClient bound what is refused because of the above, but whose refusal the client does not
	// take over HTTP/2. A stream beyond that is reset.
	maxRefusals       = 1 << 10
	refusalsPerClient = 64

	// retryCalls is when a client is asked to come again.
	retryCalls = time.Second
)

// calls are the calls under way. It is safe for concurrent use.
type calls struct{ underWay, refusals *shares.Pool }

func newCalls() *calls {
	return &calls{
		underWay: shares.NewFair(maxCalls, callsPerClient), refusals: shares.NewFair(maxRefusals, refusalsPerClient),
	}
}

// acquire counts a call of the client that the context carries until release is called. It fails with OVERLOADED if the
// client has its share of calls under way already.
func (c *calls) acquire(ctx context.Context) (release func(), err error) {
	release, ok := c.underWay.Acquire(clientKey(ctx), 1)
	if !ok {
		return nil, apierr.Overloaded(retryCalls)
	}
	return release, nil
}

// enter returns the context of a native gRPC call with its request id and its client, and counts the call until release
// is called. A refusal is written at debug level: a client can cause as many as it likes.
func (s *grpcServer) enter(ctx context.Context, method string) (_ context.Context, release func(), err error) {
	ctx = callctx.FromIncoming(ctx)
	ctx = callctx.WithClient(ctx, s.proxies.ofGRPC(ctx))
	switch err = checkMetadataSize(ctx); {
	case err != nil:
	case hasUnsharedStreams(ctx):
		err = apierr.Overloaded(retryCalls)
	default:
		release, err = s.edge.calls.acquire(ctx)
	}
	if err != nil {
		grpcx.LogCall(ctx, s.log, slog.LevelDebug, s.edge.loggedName(method), 0, err)
		return ctx, nil, apierr.Status(err).Err()
	}
	return ctx, release, nil
}

// hasUnsharedStreams reports whether the connection of a call has streams for which its client's share has no room.
func hasUnsharedStreams(ctx context.Context) bool {
	from, _ := peer.FromContext(ctx)
	info, ok := from.AuthInfo.(streamsInfo)
	return ok && info.streams.overShare()
}

// limitCall counts the unary calls of native gRPC, which are those of grpc.health.v1.
func (s *grpcServer) limitCall(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (any, error) {
	ctx, release, err := s.enter(ctx, info.FullMethod)
	if err != nil {
		_ = grpc.SetTrailer(ctx, requestIDOf(ctx)) // It fails if the client has ended the call.
		return nil, err
	}
	defer release()
	response, err := next(ctx, request)
	if err != nil {
		_ = grpc.SetTrailer(ctx, requestIDOf(ctx))
		return nil, err
	}
	_ = grpc.SetHeader(ctx, requestIDOf(ctx))
	return response, nil
}

// limitStream counts all other calls: the gateway passes those of the contract on as streams.
func (s *grpcServer) limitStream(
	server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler,
) error {
	ctx, release, err := s.enter(stream.Context(), info.FullMethod)
	call := &callStream{ServerStream: stream, ctx: ctx}
	if err == nil {
		defer release()
		err = next(server, call)
	}
	if err != nil {
		call.SetTrailer(requestIDOf(ctx))
	}
	return err
}

// limit counts the requests of REST until their answers are sent.
func (c *calls) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		release, err := c.acquire(r.Context())
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		defer release()
		next.ServeHTTP(w, r)
		flush(w, r)
	})
}

func (c *calls) refuse(w http.ResponseWriter, r *http.Request, err error) {
	release, ok := c.refusals.Acquire(clientKey(r.Context()), 1)
	if !ok {
		panic(http.ErrAbortHandler) // Resets the stream.
	}
	defer release()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	writeError(w, err)
	flush(w, r)
}

// flush sends all of an answer over HTTP/2. Otherwise net/http sends the last of it after the handler has returned, and
// a client could let each of the hundred streams of a connection wait for a flow-control window, uncounted. It returns
// when writeTimeout is over at the latest.
func flush(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor > 1 {
		_ = http.NewResponseController(w).Flush() // It fails if the client has gone.
	}
}
