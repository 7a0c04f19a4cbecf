package grpcproxy

import (
	"context"

	"google.golang.org/grpc/peer"
)

// streamWait is a function that is called when some streams of a connection have ended.
type streamWait struct {
	open map[uint32]bool
	done func()
}

// afterOpen calls done once all streams that are open now have ended, except exempt ones. It may hold the mutex then.
func (s *streams) afterOpen(done func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	wait := &streamWait{open: make(map[uint32]bool, len(s.open)), done: done}
	for id, stream := range s.open {
		if !stream.exempt {
			wait.open[id] = true
		}
	}
	if len(wait.open) == 0 {
		done()
		return
	}
	s.waits = append(s.waits, wait)
}

// endWaits calls the functions that wait for this stream as the last one. The caller holds the mutex.
func (s *streams) endWaits(id uint32) {
	pending := s.waits[:0]
	for _, wait := range s.waits {
		delete(wait.open, id)
		if len(wait.open) == 0 {
			wait.done()
			continue
		}
		pending = append(pending, wait)
	}
	clear(s.waits[len(pending):])
	s.waits = pending
}

// afterAnswer calls done once the answer of a call is sent, or its connection is closed. For grpc-go the call ends
// before. Other streams of the connection that are open now may delay done, up to streamTimeout.
func afterAnswer(ctx context.Context, done func()) {
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(streamsInfo); ok {
			info.streams.afterOpen(done)
			return
		}
	}
	done()
}
