//nolint:staticcheck // v1alpha is deprecated, and what many clients speak.
package gateway

import (
	"errors"
	"io"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	alphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
)

// TestReflectionAlpha checks that clients that speak v1alpha get what clients of v1 get, by the same rule.
func TestReflectionAlpha(t *testing.T) {
	services := func(conn *grpc.ClientConn) (names []string, err error) {
		stream, err := alphapb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		if err != nil {
			return nil, err
		}
		if err := stream.Send(&alphapb.ServerReflectionRequest{
			MessageRequest: &alphapb.ServerReflectionRequest_ListServices{ListServices: "*"},
		}); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv tells why.
			return nil, err
		}
		response, err := stream.Recv()
		for _, service := range response.GetListServicesResponse().GetService() {
			names = append(names, service.GetName())
		}
		return names, err
	}
	env := newReflectingEnv(t)
	var want []string
	for _, service := range mustExchange(t, reflects(t, env.conn), listsServices()).GetListServicesResponse().GetService() {
		want = append(want, service.GetName())
	}
	if got, err := services(env.conn); err != nil || len(got) == 0 || !slices.Equal(got, want) {
		t.Errorf("services are %v, %v, want %v", got, err, want)
	}
	env.wantBystanderServed(t)
	without, _ := newServedEnv(t)
	if _, err := services(without.conn); status.Code(err) != codes.Unimplemented {
		t.Errorf("without reflection: %v", err)
	}
}
