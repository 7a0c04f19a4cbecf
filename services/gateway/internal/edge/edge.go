// Package edge holds what REST and native gRPC have in common: who may call which method, where its calls go, and how
// much of the gateway one client may use. Both transports make their calls by Edge.Invoke, with decoded messages or
// with raw frames, so that whatever holds for one transport holds for the other. The package imports neither transport.
package edge

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// Edge admits calls by the policies of the contract and sends them to the service that serves them.
type Edge struct {
	Calls    *Calls
	Requests *RequestBudget
	Answers  *AnswerBudget

	methods       Methods
	authenticator *authn.Authenticator
	throttle      *throttle
}

// New returns an edge for the public services. It reports an error if the contract does not have a service, or if a
// method has no policy.
func New(services []Service, verifier *authn.Verifier) (*Edge, error) {
	methods, err := loadMethods(services)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(services))
	for _, service := range services {
		names = append(names, service.Name)
	}
	policies, err := authn.LoadPolicies(names...)
	if err != nil {
		return nil, err
	}
	return &Edge{
		Calls: newCalls(), Requests: NewRequestBudget(), Answers: newAnswerBudget(),
		methods: methods, authenticator: authn.NewAuthenticator(policies, verifier, nil), throttle: newThrottle(time.Now),
	}, nil
}

// Methods returns the methods of the public services.
func (e *Edge) Methods() Methods { return e.methods }

// admissionKey is the context key of the *Method that the caller was admitted to.
type admissionKey struct{}

// Admit checks that the caller may use a method, by its full name ("/gatehouse.v1.UserService/ReadUser"), and returns
// the method. The caller's token is read from the incoming metadata of ctx. Transports call Admit before they read
// anything of the request: a stranger causes no work, and learns nothing about the rules of a request. Invoke does not
// admit a call again that is made with the returned context.
func (e *Edge) Admit(ctx context.Context, name string) (context.Context, *Method, error) {
	method, known := e.methods[name]
	if !known {
		return ctx, nil, apierr.RouteNotFound("method not found")
	}
	if admitted, _ := ctx.Value(admissionKey{}).(*Method); admitted == method {
		return ctx, method, nil
	}
	ctx, err := e.authenticator.Admit(ctx, name)
	if err != nil {
		return ctx, nil, err
	}
	return context.WithValue(ctx, admissionKey{}, method), method, nil
}

// Invoke implements grpc.ClientConnInterface, so that the generated REST handlers can use an edge as their connection.
// The request is a decoded message or a *Frame. An idempotency key in the incoming metadata sets its request id.
func (e *Edge) Invoke(ctx context.Context, name string, request, reply any, options ...grpc.CallOption) error {
	ctx, method, err := e.Admit(ctx, name)
	if err != nil {
		return err
	}
	if request, err = prepareRequest(ctx, method, request); err != nil {
		return err
	}
	client := ClientKey(ctx)
	if err := e.throttle.check(name, client); err != nil {
		return err
	}
	err = method.conn.Invoke(ctx, name, request, reply, options...)
	e.throttle.observe(name, client, err)
	if err != nil {
		return upstreamError(err, request)
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface. The public contract has no streams.
func (e *Edge) NewStream(
	context.Context, *grpc.StreamDesc, string, ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return nil, apierr.RouteNotFound("stream not found")
}

// Unmatched is logged in place of the route or the method of a request that matches none. The name that the client sent
// is not logged: it may hold a token, or anything else that a client did not mean to send there.
const Unmatched = "unmatched"

// LoggedName returns the name of a method for the log, which is Unmatched for an unknown method.
func (e *Edge) LoggedName(method string) string {
	if _, known := e.methods[method]; !known {
		return Unmatched
	}
	return method
}

const (
	// undecodable begins the status that grpc-go makes, before any interceptor, for bytes which are not the message of
	// the method. The gateway forwards frames without decoding them, so that the upstream detects it. For the client it
	// is bad input.
	undecodable = "grpc: failed to unmarshal the received message"

	// tooDeep ends such a status if the message is nested more deeply than protobuf decodes. The gateway can decode such
	// a message from JSON.
	tooDeep = "exceeded maximum recursion depth"

	// unencodable begins the status that grpc-go makes for a message which it cannot encode: one with a text from the
	// path of a REST request that is not UTF-8.
	unencodable = "grpc: error while marshaling"
)

func upstreamError(err error, request any) error {
	st, ok := status.FromError(err)
	_, raw := request.(*rawRequest)
	switch {
	case !ok || st.Code() != codes.Internal:
		return err
	case strings.HasPrefix(st.Message(), undecodable) && (raw || strings.HasSuffix(st.Message(), tooDeep)):
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
