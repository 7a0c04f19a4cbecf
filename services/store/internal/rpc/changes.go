package rpc

import (
	"google.golang.org/grpc"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/changefeed"
)

// changeService implements gatehouse.internal.v1.ChangeService.
type changeService struct {
	internalv1.UnsafeChangeServiceServer
	Config
}

// WatchChanges sends changes until the caller or the service ends it.
func (s *changeService) WatchChanges(
	req *internalv1.WatchChangesRequest, stream grpc.ServerStreamingServer[internalv1.WatchChangesResponse],
) error {
	err := s.Feed.Follow(stream.Context(), req.GetEpoch(), req.GetCursor(), func(batch changefeed.Batch) error {
		return stream.Send(batchResponse(batch))
	})
	return apiError(err)
}

func batchResponse(batch changefeed.Batch) *internalv1.WatchChangesResponse {
	response := &internalv1.WatchChangesResponse{
		Epoch: batch.Epoch, Cursor: batch.Cursor, Incomplete: batch.Incomplete,
		LagMilliseconds: batch.Lag.Milliseconds(),
	}
	for _, change := range batch.Changes {
		response.Changes = append(response.Changes, &internalv1.Change{
			UserId: change.UserID, SessionId: change.SessionID, Version: change.Version, Ended: change.Ended,
		})
	}
	return response
}
