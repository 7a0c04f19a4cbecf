package grpcproxy

import (
	"context"
	"reflect"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// exemptStream disables streamTimeout for the stream of a native gRPC call until undo is called, which the handler must
// do when it returns. It reports false if the stream is unknown.
func exemptStream(ctx context.Context) (undo func(), ok bool) {
	from, _ := peer.FromContext(ctx)
	if from == nil {
		return nil, false
	}
	info, isTracked := from.AuthInfo.(streamsInfo)
	id, isKnown := streamID(ctx)
	if !isTracked || !isKnown {
		return nil, false
	}
	info.streams.setExempt(id, true)
	return func() { info.streams.setExempt(id, false) }, true
}

// setExempt sets whether a stream is exempt. The timeout of a stream that is no longer exempt starts again. No answer
// waits for an exempt stream.
func (s *streams) setExempt(id uint32, exempt bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	stream, isOpen := s.open[id]
	if !isOpen {
		return
	}
	stream.exempt, stream.since = exempt, time.Now()
	s.open[id] = stream
	if exempt {
		s.endWaits(id)
	} else if !s.closed {
		s.startTimer()
	}
}

// streamID returns the id of the HTTP/2 stream of a native gRPC call. It reads an unexported field of grpc-go by
// reflection, and never writes it.
func streamID(ctx context.Context) (id uint32, ok bool) {
	stream := reflect.Indirect(reflect.ValueOf(grpc.ServerTransportStreamFromContext(ctx)))
	if stream.Kind() != reflect.Struct {
		return 0, false
	}
	field := stream.FieldByName("id")
	if field.Kind() != reflect.Uint32 {
		return 0, false
	}
	return uint32(field.Uint()), true //nolint:gosec // It is a uint32.
}
