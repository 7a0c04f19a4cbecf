package edge

import (
	"context"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// Bounds of the bytes of answers that the gateway holds until their clients have read them, over both transports: of
// all clients, and of each. The first MaxSmallAnswer bytes of an answer do not count: the number of calls and streams
// bounds them.
const (
	MaxSmallAnswer          = 4 << 10
	maxAnswerBytes          = 32 << 20
	MaxAnswerBytesPerClient = 4 << 20
)

// AnswerBudget bounds the bytes of answers that the gateway holds, for each client and for all. It never waits: if
// there is no room for an answer, it is dropped and its call fails with OVERLOADED. That holds for reads only: a change
// has been made by then, and must not seem refused. It is safe for concurrent use.
type AnswerBudget struct {
	Large *shares.Pool
	reads map[string]bool
}

func newAnswerBudget() *AnswerBudget {
	return &AnswerBudget{Large: shares.NewFair(maxAnswerBytes, MaxAnswerBytesPerClient), reads: grpcx.Reads()}
}

// Reserve reserves room for an answer of so many bytes to the client that the context carries, until release is called.
func (b *AnswerBudget) Reserve(ctx context.Context, method string, size int) (release func(), err error) {
	if size <= MaxSmallAnswer || !b.reads[method] {
		return func() {}, nil
	}
	release, ok := b.Large.Acquire(ClientKey(ctx), int64(size-MaxSmallAnswer))
	if !ok {
		return nil, apierr.Overloaded(retryBudget)
	}
	return release, nil
}
