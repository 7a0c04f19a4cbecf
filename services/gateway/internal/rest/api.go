package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// api serves the public services by their generated handlers.
type api struct {
	edge   *edge.Edge
	routes routes
}

// newAPI registers the generated handlers of all public services. It reports an error if a route of the contract is not
// understood.
func newAPI(ctx context.Context, front *edge.Edge) (http.Handler, error) {
	routes, err := loadRoutes(front.Methods())
	if err != nil {
		return nil, err
	}
	a := &api{edge: front, routes: routes}
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
		runtime.WithMiddlewares(a.resolve),
		runtime.WithForwardResponseOption(writeETag),
		runtime.WithForwardResponseRewriter(useEncoded),
		runtime.WithWriteContentLength(),
		runtime.WithErrorHandler(writeCallError),
		runtime.WithRoutingErrorHandler(a.writeRoutingError),
		// The contract has neither forms in place of a GET nor a header in place of the method.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		// Only code of the gateway forwards headers of clients, and the metadata of upstreams is for the gateway.
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
	)
	conn := callConn{front}
	if err := errors.Join(
		gatehousev1.RegisterAdminServiceHandlerClient(ctx, mux, gatehousev1.NewAdminServiceClient(conn)),
		gatehousev1.RegisterKeyServiceHandlerClient(ctx, mux, gatehousev1.NewKeyServiceClient(conn)),
		gatehousev1.RegisterSessionServiceHandlerClient(ctx, mux, gatehousev1.NewSessionServiceClient(conn)),
		gatehousev1.RegisterUserServiceHandlerClient(ctx, mux, gatehousev1.NewUserServiceClient(conn)),
	); err != nil {
		return nil, fmt.Errorf("register the REST routes: %w", err)
	}
	return headAsGet(mux), nil
}

func noHeader(string) (string, bool) { return "", false }

// headAsGet serves HEAD like GET (RFC 9110, section 9.3.2); net/http omits the body.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(r.Context())
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// writeCallError writes the error of a call, by the generated handler or by the service.
func writeCallError(
	ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error,
) {
	reply.Error(w, r, callError(callOf(ctx), err))
}

// callError replaces the errors of generated handlers: they turn a malformed request into a bare INVALID_ARGUMENT whose
// text quotes it, and it may hold a password.
func callError(c *call, err error) error {
	if c != nil && c.bodyError != nil {
		return c.bodyError
	}
	if st, ok := status.FromError(err); ok && st.Code() == codes.InvalidArgument &&
		apierr.ReasonOf(st) == gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return apierr.MalformedRequest("malformed path, query or header", nil)
	}
	return err
}

// writeRoutingError writes the answer to a request that no generated handler serves.
func (a *api) writeRoutingError(
	_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int,
) {
	switch {
	case code == http.StatusNotFound:
		reply.Error(w, r, apierr.RouteNotFound("route not found: see /docs for the list of routes"))
	case code == http.StatusMethodNotAllowed && r.Method == http.MethodOptions:
		reply.Options(w, a.routes.allowed(r.URL.Path))
	case code == http.StatusMethodNotAllowed:
		reply.MethodNotAllowed(w, r, a.routes.allowed(r.URL.Path))
	default:
		reply.Error(w, r, apierr.MalformedRequest("malformed path", nil))
	}
}
