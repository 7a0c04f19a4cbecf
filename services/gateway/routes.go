package gateway

import (
	"context"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// route says where the calls of one public service go, and how its generated REST handlers are registered.
type route struct {
	conn grpc.ClientConnInterface
	rest func(context.Context, *runtime.ServeMux, grpc.ClientConnInterface) error
}

// routes are the public services by their full names. A service that is not here is not reachable from outside.
type routes map[string]route

func newRoutes(cache, store grpc.ClientConnInterface) routes {
	return routes{
		gatehousev1.UserService_ServiceDesc.ServiceName: {
			cache,
			func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
				return gatehousev1.RegisterUserServiceHandlerClient(ctx, mux, gatehousev1.NewUserServiceClient(conn))
			},
		},
		gatehousev1.SessionService_ServiceDesc.ServiceName: {
			cache,
			func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
				return gatehousev1.RegisterSessionServiceHandlerClient(ctx, mux, gatehousev1.NewSessionServiceClient(conn))
			},
		},
		gatehousev1.AdminService_ServiceDesc.ServiceName: {
			cache,
			func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
				return gatehousev1.RegisterAdminServiceHandlerClient(ctx, mux, gatehousev1.NewAdminServiceClient(conn))
			},
		},
		gatehousev1.KeyService_ServiceDesc.ServiceName: {
			store,
			func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
				return gatehousev1.RegisterKeyServiceHandlerClient(ctx, mux, gatehousev1.NewKeyServiceClient(conn))
			},
		},
	}
}

// services lists the public services in a stable order.
func (r routes) services() []string {
	names := make([]string, 0, len(r))
	for name := range r {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// of finds the route of a method by its full name ("/gatehouse.v1.UserService/ReadUser").
func (r routes) of(method string) (route, bool) {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	found, ok := r[service]
	return found, ok
}
