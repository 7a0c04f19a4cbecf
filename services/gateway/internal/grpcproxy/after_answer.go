package grpcproxy

import (
	"context"

	"google.golang.org/grpc/peer"
)

// streamWait waits for streams of a connection to end.
type streamWait struct {
	open map[uint32]bool
	done func()
}

// afterOpen calls done once all streams have ended that are open now, except exempt ones. It may call it with the mutex
// held.
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

// endWaits needs the mutex.
func (s *streams) endWaits(id uint32) {
	kept := s.waits[:0]
	for _, wait := range s.waits {
		delete(wait.open, id)
		if len(wait.open) == 0 {
			wait.done()
			continue
		}
		kept = append(kept, wait)
	}
	clear(s.waits[len(kept):])
	s.waits = kept
}

// afterAnswer calls done once the answer of a call is sent, or nobody takes it any more. For grpc-go the call ends
// before. Other streams of the connection that are open now may delay it, up to streamTimeout.
func afterAnswer(ctx context.Context, done func()) {
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(streamsInfo); ok {
			info.streams.afterOpen(done)
			return
		}
	}
	done()
}
