// Package rpc implements the gRPC services of the store. It translates between the contract and the domain, and is the
// only package of the store that makes errors of the API. It has more than twelve files: one for each service, and one
// for each larger group of calls of a service.
package rpc

import (
	"time"

	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/changefeed"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/pagetoken"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// Config is what the services need.
type Config struct {
	Storage   *storage.Storage
	Hasher    *password.Hasher
	Passwords *password.Policy
	Login     *login.Service
	Keyring   *signing.Keyring
	Keys      *signing.KeyManager
	Pages     *pagetoken.Tokens
	Feed      *changefeed.Feed
	Claims    login.AppClaims
	Issuer    string
	Settings  func() authn.IssuerSettings // what the store issues tokens with now
	Now       func() time.Time
}

// Register registers the services on a server.
func Register(server grpc.ServiceRegistrar, config Config) {
	gatehousev1.RegisterUserServiceServer(server, &userService{Config: config})
	gatehousev1.RegisterAdminServiceServer(server, &adminService{Config: config})
	gatehousev1.RegisterSessionServiceServer(server, &sessionService{Config: config})
	gatehousev1.RegisterKeyServiceServer(server, &keyService{Config: config})
	internalv1.RegisterChangeServiceServer(server, &changeService{Config: config})
}

// Services returns the full names of the services that Register registers.
func Services() []string {
	return []string{
		gatehousev1.UserService_ServiceDesc.ServiceName, gatehousev1.AdminService_ServiceDesc.ServiceName,
		gatehousev1.SessionService_ServiceDesc.ServiceName, gatehousev1.KeyService_ServiceDesc.ServiceName,
		internalv1.ChangeService_ServiceDesc.ServiceName,
	}
}
