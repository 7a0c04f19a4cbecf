package gateway

import (
	"context"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// Bounds of the bytes of answers that the gateway holds until their clients have taken them, over both transports: of
// all clients, and of each. The first maxSmallAnswer bytes of an answer do not count: the number of calls and streams
// bounds them.
const (
	maxSmallAnswer          = 4 << 10
	maxAnswerBytes          = 32 << 20
	maxAnswerBytesPerClient = 4 << 20
)

// answerBudget bounds the bytes of answers that the gateway holds, for each client and for all. It never waits: an
// answer that finds no room is dropped, and its call fails with OVERLOADED. That is said of reads only: a change has
// been made by then, and must not seem refused. It is safe for concurrent use.
type answerBudget struct {
	large *shares.Pool
	reads map[string]bool
}

func newAnswerBudget() *answerBudget {
	return &answerBudget{large: shares.NewFair(maxAnswerBytes, maxAnswerBytesPerClient), reads: grpcx.Reads()}
}

// reserve reserves room for an answer of so many bytes, which is more than maxSmallAnswer, until release is called.
func (b *answerBudget) reserve(client shares.Key, size int) (release func(), err error) {
	release, ok := b.large.Acquire(client, int64(size-maxSmallAnswer))
	if !ok {
		return nil, apierr.Overloaded(retryBudget)
	}
	return release, nil
}

// reserveGRPC reserves room for the answer of a native gRPC call until it is sent. It is called while the stream is
// open.
func (b *answerBudget) reserveGRPC(ctx context.Context, method string, size int) error {
	if size <= maxSmallAnswer || !b.reads[method] {
		return nil
	}
	release, err := b.reserve(clientKey(ctx), size)
	if err == nil {
		afterAnswer(ctx, release)
	}
	return err
}

// restAnswer is the encoded answer of one REST request, and the room that is reserved for it.
type restAnswer struct {
	encoded encodedAnswer
	release func() // nil if nothing is reserved
}

// encodedAnswer is an answer that is JSON already, which the marshaler returns as it is.
type encodedAnswer []byte

type restAnswerKey struct{}

// holdAnswers adds a restAnswer to each request. Its room is released when next returns, which must have sent all of
// the answer by then.
func holdAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &restAnswer{}
		defer func() {
			if answer.release != nil {
				answer.release()
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), restAnswerKey{}, answer)))
	})
}

// reserveREST encodes the answer of a REST request, and reserves room for it until it is sent: JSON can be several
// times as long as the message.
func (b *answerBudget) reserveREST(ctx context.Context, method string, message any) error {
	answer, ok := ctx.Value(restAnswerKey{}).(*restAnswer)
	if !ok || !b.reads[method] {
		return nil
	}
	encoded, err := newMarshaler().Marshal(message)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if len(encoded) > maxSmallAnswer {
		if answer.release, err = b.reserve(clientKey(ctx), len(encoded)); err != nil {
			return err
		}
	}
	answer.encoded = encoded
	return nil
}

// useEncoded replaces the message of a response by what reserveREST has made of it.
func useEncoded(ctx context.Context, message proto.Message) (any, error) {
	if answer, ok := ctx.Value(restAnswerKey{}).(*restAnswer); ok && answer.encoded != nil {
		return answer.encoded, nil
	}
	return message, nil
}
