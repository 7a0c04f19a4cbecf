package store

import (
	"testing"

	"google.golang.org/grpc"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/rpc"
)

// direct are services that are called without a connection.
type direct struct {
	users    gatehousev1.UserServiceServer
	sessions gatehousev1.SessionServiceServer
}

// RegisterService implements grpc.ServiceRegistrar.
func (d *direct) RegisterService(_ *grpc.ServiceDesc, service any) {
	switch service := service.(type) {
	case gatehousev1.UserServiceServer:
		d.users = service
	case gatehousev1.SessionServiceServer:
		d.sessions = service
	}
}

// direct returns services of the store, after a change of what they are made of.
func (s *Service) direct(t *testing.T, change func(*rpc.Config)) *direct {
	t.Helper()
	config, err := s.services()
	if err != nil {
		t.Fatal(err)
	}
	change(&config)
	d := &direct{}
	rpc.Register(d, config)
	return d
}
