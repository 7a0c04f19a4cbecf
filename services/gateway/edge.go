package gateway

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// edge is where REST and native gRPC become one: both hand their calls to Invoke, which admits them by the policy of
// the contract and passes them on. Whatever holds for one transport therefore holds for the other.
type edge struct {
	routes        routes
	methods       methods
	authenticator *authn.Authenticator
	throttle      *throttle
	budget        *requestBudget
	answers       *answerBudget
	calls         *calls
}

// Invoke implements grpc.ClientConnInterface, so that the generated REST handlers can use an edge as their connection.
// The caller's token is read from the incoming metadata of ctx.
func (e *edge) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	ctx, route, err := e.admit(ctx, method)
	if err != nil {
		return err
	}
	client := clientKey(ctx)
	if err := e.throttle.check(method, client); err != nil {
		return err
	}
	err = route.conn.Invoke(ctx, method, args, reply, options...)
	e.throttle.observe(method, client, err)
	if err != nil {
		return upstreamError(err, args)
	}
	return nil
}

// admit finds the route of a method and checks that the caller may use it. It is called before anything of the request
// is read: a stranger does not make the gateway work, and learns nothing of the rules of a request.
func (e *edge) admit(ctx context.Context, method string) (context.Context, route, error) {
	route, ok := e.routes.of(method)
	if !ok {
		return ctx, route, apierr.RouteNotFound("method not found")
	}
	ctx, err := e.authenticator.Admit(ctx, method)
	return ctx, route, err
}

// NewStream implements grpc.ClientConnInterface. The public contract has no streams.
func (e *edge) NewStream(
	context.Context, *grpc.StreamDesc, string, ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return nil, apierr.RouteNotFound("stream not found")
}

// undecodable begins the status that grpc-go makes, before any interceptor, for bytes which are not the message of the
// method. The gateway passes frames on unread, so it is the upstream that finds out; to the client it is bad input.
const undecodable = "grpc: failed to unmarshal the received message"

// tooDeep ends such a status where the message is nested more deeply than protobuf reads. JSON can be, and still be
// read here.
const tooDeep = "exceeded maximum recursion depth"

// unencodable begins the status that grpc-go makes for a message which it cannot send: one with a text from the path of
// a REST request that is not UTF-8.
const unencodable = "grpc: error while marshaling"

func upstreamError(err error, request any) error {
	st, ok := status.FromError(err)
	_, unread := request.(*rawRequest)
	switch {
	case !ok || st.Code() != codes.Internal:
		return err
	case strings.HasPrefix(st.Message(), undecodable) && (unread || strings.HasSuffix(st.Message(), tooDeep)):
		return errNotProtobuf()
	case strings.HasPrefix(st.Message(), unencodable):
		return apierr.MalformedRequest("the path or the query is not valid UTF-8", nil)
	default:
		return err
	}
}

func errNotProtobuf() error {
	return apierr.MalformedRequest("the request is not a valid message of the method, or is nested too deeply", nil)
}

// loggedName returns the name of a method as the log has it. The name of one that there is not is the client's own, and
// can hold anything.
func (e *edge) loggedName(method string) string {
	if _, known := e.methods[method]; !known {
		return unmatchedRoute
	}
	return method
}
