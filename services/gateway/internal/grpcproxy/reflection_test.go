package grpcproxy

import (
	"testing"

	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

func TestReflection(t *testing.T) {
	t.Run("answers_are_prepared", func(t *testing.T) {
		reflection, err := NewReflection(edge.Services(nil, nil))
		if err != nil {
			t.Fatal(err)
		}
		request := &reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{
				FileContainingSymbol: "gatehouse.v1.UserService",
			},
		}
		allocations := testing.AllocsPerRun(10, func() { _ = reflection.answer(request, map[*reflectedFile]bool{}) })
		if allocations > 50 { // grpc-go's own reflection needs tens of thousands.
			t.Errorf("an answer takes %v allocations", allocations)
		}
	})
}
