package grpcx

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// Repeated calls wait up to these times, a fifth more or less, so that not all come back at once.
const (
	maxAttempts  = 3
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 500 * time.Millisecond
)

// Each call that fails takes a token, each that succeeds gives a part of one back, and nothing is repeated while fewer
// than half are left: if everything fails, a connection repeats ten calls, and afterwards one for ten that succeed.
// Reads and changes are counted apart.
const (
	repeatTokens = 20
	tokenRatio   = 0.1
)

// public is the package of the public contract.
const public = "gatehouse.v1"

// Reads are the methods of the public contract that are mapped to GET, by their full names: they change nothing, and
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

// HasKey reports whether a request is a change that is made once however often it is sent: a sign-up with a request
// id. A request that is not decoded reports it by its method HasRequestID. A refresh can be sent again by its owner,
// but not by us: without a grace, what arrives late voids what was answered.
func HasKey(request any) bool {
	switch request := request.(type) {
	case *gatehousev1.CreateUserRequest:
		return request.GetRequestId() != ""
	case interface{ HasRequestID() bool }:
		return request.HasRequestID()
	default:
		return false
	}
}

// Persist makes a connection repeat calls of these methods, and of any whose request HasKey, where the service was
// lost, or says itself that it is UNAVAILABLE; calls of any method, which could not be sent, wait for a service that is
// being restarted; and one that does not answer at all is left alone for a while. One hop of a call should do so, not
// each: attempts multiply.
func Persist(methods map[string]bool) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultServiceConfig(repeating(methods)),
		grpc.WithChainUnaryInterceptor(newCircuit().call, newRepeater().call),
	}
}

// repeater repeats changes as grpc-go repeats reads (gRFC A6), which cannot tell by its request whether a call may be.
type repeater struct {
	mu     sync.Mutex
	tokens float64
}

func newRepeater() *repeater { return &repeater{tokens: repeatTokens} }

// call is a grpc.UnaryClientInterceptor.
func (r *repeater) call(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if !HasKey(req) {
		return invoke(ctx, method, req, reply, conn, options...)
	}
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := invoke(ctx, method, req, reply, conn, options...)
		if !r.mayRepeat(err) || attempt == maxAttempts {
			return err
		}
		wait := backoff - backoff/5 + rand.N(2*backoff/5) //nolint:gosec // spreads load; nothing to guess
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// mayRepeat counts the outcome of a call.
func (r *repeater) mayRepeat(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if status.Code(err) != codes.Unavailable {
		r.tokens = min(r.tokens+tokenRatio, repeatTokens)
		return false
	}
	r.tokens = max(r.tokens-1, 0)
	return r.tokens > repeatTokens/2
}

func repeating(methods map[string]bool) string {
	type name struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	var names []name
	for _, method := range slices.Sorted(maps.Keys(methods)) {
		service, short, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		names = append(names, name{service, short})
	}
	config, err := json.Marshal(map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": struct{}{}}},
		"methodConfig": []any{map[string]any{"name": names, "retryPolicy": map[string]any{
			"maxAttempts": maxAttempts, "initialBackoff": seconds(firstBackoff), "maxBackoff": seconds(maxBackoff),
			"backoffMultiplier": 2, "retryableStatusCodes": []string{"UNAVAILABLE"},
		}}},
		"retryThrottling": map[string]any{"maxTokens": repeatTokens, "tokenRatio": tokenRatio},
	})
	if err != nil { // Of maps and strings, it cannot fail.
		panic(err)
	}
	return string(config)
}

// seconds writes a duration as ProtoJSON does.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s" }
