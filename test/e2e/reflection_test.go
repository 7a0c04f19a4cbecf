package e2e

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// TestReflectionSetting checks that reflection lists the public services, and only these, where the setting allows it.
func TestReflectionSetting(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, command string
		args          []string
		want          codes.Code
	}{
		{"up on loopback", "up", nil, codes.OK},
		{"up on every address", "up", []string{"--grpc", ":PORT"}, codes.Unimplemented},
		{"up, on", "up", []string{"--grpc", ":PORT", "--reflection", "on"}, codes.OK},
		{"up, off", "up", []string{"--reflection", "off"}, codes.Unimplemented},
		{"gateway", "gateway", nil, codes.Unimplemented},
		{"gateway, on", "gateway", []string{"--reflection", "on"}, codes.OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			settings := []string{"GATEHOUSE_SERVICE_TOKEN=" + rand.Text() + rand.Text()}
			args := test.args
			if test.command == "up" {
				settings, args = nil, append(slices.Clone(args), "--data", t.TempDir())
			}
			service := cluster.NewService(t, binary, test.command, settings, args...)
			_, port, _ := strings.Cut(service.Address, ":")
			for i, arg := range service.Args {
				service.Args[i] = strings.ReplaceAll(arg, "PORT", port)
			}
			if err := service.Start(); err != nil {
				t.Fatal(err)
			}
			services, err := reflectedServices(t, service.Dial(t))
			if code := status.Code(err); code != test.want {
				t.Fatalf("reflection answers %v, want %v", err, test.want)
			}
			public := []string{
				"gatehouse.v1.AdminService", "gatehouse.v1.KeyService", "gatehouse.v1.SessionService", "gatehouse.v1.UserService",
			}
			if err == nil && !slices.Equal(services, public) {
				t.Errorf("services are %v, want %v", services, public)
			}
		})
	}
}

// reflectedServices requests the services, as soon as the gateway takes connections.
func reflectedServices(t *testing.T, conn *grpc.ClientConn) ([]string, error) {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(callContext(t), grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	_ = stream.Send(&reflectionpb.ServerReflectionRequest{ // If that fails, Recv tells why.
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	})
	response, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, service := range response.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	return names, stream.CloseSend()
}
