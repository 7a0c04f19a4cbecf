package grpcproxy

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// panickingStream is a stream of grpc-go with a defect.
type panickingStream struct {
	messageReader
	reflectionpb.ServerReflection_ServerReflectionInfoServer

	t *testing.T
}

func (s panickingStream) Context() context.Context { return s.t.Context() }

func (panickingStream) ReadMessageHeader([]byte) error { panic("a defect") }

func (panickingStream) Recv() (*reflectionpb.ServerReflectionRequest, error) { panic("a defect") }

// TestGoroutines checks that a panic in a goroutine that a call starts ends the call, not the process.
func TestGoroutines(t *testing.T) {
	stream := panickingStream{t: t}
	t.Run("receiver", func(t *testing.T) {
		reservation := edge.NewRequestBudget().NewReservation(shares.Key{})
		defer reservation.Release()
		_, err := (&receiver{stream, edge.MaxSmallRequest, reservation}).receive()
		if code := apierr.Status(err).Code(); code != codes.Internal {
			t.Errorf("the call ends with %v", err)
		}
	})
	t.Run("reflection", func(t *testing.T) {
		reflection, err := NewReflection(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := reflection.ServerReflectionInfo(stream); status.Code(err) != codes.Internal {
			t.Errorf("the call ends with %v", err)
		}
	})
}
