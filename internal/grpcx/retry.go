package grpcx

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/wait"
)

// The retry budget of a connection, as gRFC A6 has it: a call that fails takes a token, a call that succeeds returns
// tokenRatio of one, and nothing is retried while half of the tokens are gone. If everything fails, a connection
// retries ten calls, and afterwards one for ten that succeed.
const (
	maxTokens  = 20
	tokenRatio = 0.1
)

// public is the package of the public contract.
const public = "gatehouse.v1"

// Reads returns the full names of the methods of the public contract that are mapped to GET: they change nothing, and
// can be called twice.
func Reads() map[string]bool {
	reads := map[string]bool{}
	protoregistry.GlobalFiles.RangeFilesByPackage(public, func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
				if rule.GetGet() != "" {
					reads[fmt.Sprintf("/%s/%s", service.FullName(), method.Name())] = true
				}
			}
		}
		return true
	})
	return reads
}

// IsIdempotent reports whether a request is a change that is made once however often it is sent: a sign-up with a
// request id. A request that is not decoded reports it by its method HasRequestID. A refresh can be sent again by its
// owner, but not by us: without a grace, a late duplicate invalidates the answer of the first.
func IsIdempotent(request any) bool {
	switch request := request.(type) {
	case *gatehousev1.CreateUserRequest:
		return request.GetRequestId() != ""
	case interface{ HasRequestID() bool }:
		return request.HasRequestID()
	default:
		return false
	}
}

// WithRetry returns options for Dial that make a connection retry what can be repeated, Reads and requests that are
// IsIdempotent, where a replica was lost or returned UNAVAILABLE. A call that could not be sent, of any method, waits
// for a service that is being restarted. A service that does not respond at all is left alone for a while. One hop of a
// call should retry, not each: attempts multiply.
func WithRetry() []grpc.DialOption {
	retries := &retryInterceptor{reads: Reads(), tokens: maxTokens}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(newBreakerInterceptor().call, retries.call)}
}

// retryInterceptor retries calls. The retries of grpc-go cannot see by its request whether a call may be repeated, nor
// whether it was sent.
type retryInterceptor struct {
	reads map[string]bool

	mu     sync.Mutex
	tokens float64
}

// call is a grpc.UnaryClientInterceptor.
func (r *retryInterceptor) call(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	repeatable := r.reads[method] || IsIdempotent(req)
	attempt, backoff, reconnected := 1, deadlines.StoreBackoff, false
	for {
		var replica peer.Peer // Without an address if the call was not sent.
		err := invoke(ctx, method, req, reply, conn, append(slices.Clip(options), grpc.Peer(&replica))...)
		canRetry := r.count(err)
		switch {
		case status.Code(err) != codes.Unavailable:
			return err
		case replica.Addr == nil && !IsAnswered(err) && !reconnected:
			if reconnected = reconnect(ctx, conn); !reconnected {
				return err
			}
		case !repeatable || !canRetry || attempt == deadlines.StoreAttempts || !pause(ctx, backoff):
			return err
		default:
			attempt++
			backoff *= 2
		}
	}
}

// count counts the outcome of a call, and reports whether the budget allows a retry.
func (r *retryInterceptor) count(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if status.Code(err) != codes.Unavailable {
		r.tokens = min(r.tokens+tokenRatio, maxTokens)
		return false
	}
	r.tokens = max(r.tokens-1, 0)
	return r.tokens > maxTokens/2
}

// reconnect waits for a replica that can be reached, and reports whether there is one.
func reconnect(ctx context.Context, conn *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, deadlines.Reconnect)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
	return true
}

// pause waits, a fifth more or less so that not all calls come back at once, and reports whether ctx is still alive.
func pause(ctx context.Context, backoff time.Duration) bool {
	return wait.For(ctx, backoff+rand.N(2*backoff/5)-backoff/5) //nolint:gosec // spreads load; nothing to guess
}
